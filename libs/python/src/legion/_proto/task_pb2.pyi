import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from legion._proto import cost_pb2 as _cost_pb2
from legion._proto import label_pb2 as _label_pb2
from legion._proto import outcome_pb2 as _outcome_pb2
from legion._proto import payload_pb2 as _payload_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WhenLimited(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WHEN_LIMITED_UNSPECIFIED: _ClassVar[WhenLimited]
    WHEN_LIMITED_REFUSE: _ClassVar[WhenLimited]
    WHEN_LIMITED_WAIT: _ClassVar[WhenLimited]

class TaskState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_STATE_UNSPECIFIED: _ClassVar[TaskState]
    TASK_STATE_SCHEDULED: _ClassVar[TaskState]
    TASK_STATE_QUEUED: _ClassVar[TaskState]
    TASK_STATE_LEASED: _ClassVar[TaskState]
    TASK_STATE_COMPLETED: _ClassVar[TaskState]
    TASK_STATE_FAILED: _ClassVar[TaskState]
    TASK_STATE_CANCELED: _ClassVar[TaskState]
    TASK_STATE_DEAD: _ClassVar[TaskState]
WHEN_LIMITED_UNSPECIFIED: WhenLimited
WHEN_LIMITED_REFUSE: WhenLimited
WHEN_LIMITED_WAIT: WhenLimited
TASK_STATE_UNSPECIFIED: TaskState
TASK_STATE_SCHEDULED: TaskState
TASK_STATE_QUEUED: TaskState
TASK_STATE_LEASED: TaskState
TASK_STATE_COMPLETED: TaskState
TASK_STATE_FAILED: TaskState
TASK_STATE_CANCELED: TaskState
TASK_STATE_DEAD: TaskState

class TaskSpec(_message.Message):
    __slots__ = ("namespace", "task_id", "capability", "task_data", "priority", "user", "labels", "required_labels", "run_time", "execution_timeout", "retry_policy", "costs", "when_limited", "traceparent", "tracestate")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    CAPABILITY_FIELD_NUMBER: _ClassVar[int]
    TASK_DATA_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_LABELS_FIELD_NUMBER: _ClassVar[int]
    RUN_TIME_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    COSTS_FIELD_NUMBER: _ClassVar[int]
    WHEN_LIMITED_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    task_id: str
    capability: str
    task_data: _payload_pb2.Payload
    priority: int
    user: str
    labels: _containers.RepeatedCompositeFieldContainer[_label_pb2.Label]
    required_labels: _containers.RepeatedCompositeFieldContainer[_label_pb2.Label]
    run_time: _timestamp_pb2.Timestamp
    execution_timeout: _duration_pb2.Duration
    retry_policy: RetryPolicy
    costs: _containers.RepeatedCompositeFieldContainer[_cost_pb2.Cost]
    when_limited: WhenLimited
    traceparent: str
    tracestate: str
    def __init__(self, namespace: _Optional[str] = ..., task_id: _Optional[str] = ..., capability: _Optional[str] = ..., task_data: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., priority: _Optional[int] = ..., user: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[_label_pb2.Label, _Mapping]]] = ..., required_labels: _Optional[_Iterable[_Union[_label_pb2.Label, _Mapping]]] = ..., run_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., execution_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry_policy: _Optional[_Union[RetryPolicy, _Mapping]] = ..., costs: _Optional[_Iterable[_Union[_cost_pb2.Cost, _Mapping]]] = ..., when_limited: _Optional[_Union[WhenLimited, str]] = ..., traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ...) -> None: ...

class RetryPolicy(_message.Message):
    __slots__ = ("max_attempts", "initial_delay", "max_delay", "factor")
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_DELAY_FIELD_NUMBER: _ClassVar[int]
    MAX_DELAY_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    max_attempts: int
    initial_delay: _duration_pb2.Duration
    max_delay: _duration_pb2.Duration
    factor: float
    def __init__(self, max_attempts: _Optional[int] = ..., initial_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., factor: _Optional[float] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("namespace", "task_id", "capability", "state", "attempt", "max_attempts", "waiting_reason", "outcome", "last_failure", "agent_id", "session_id", "submit_time", "run_time", "start_time", "finish_time", "cancel_requested", "task_data", "priority", "user", "labels", "required_labels", "execution_timeout", "retry_policy", "traceparent")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    CAPABILITY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    WAITING_REASON_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SUBMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    RUN_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    FINISH_TIME_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    TASK_DATA_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_LABELS_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    task_id: str
    capability: str
    state: TaskState
    attempt: int
    max_attempts: int
    waiting_reason: str
    outcome: _outcome_pb2.Outcome
    last_failure: _outcome_pb2.Failed
    agent_id: str
    session_id: str
    submit_time: _timestamp_pb2.Timestamp
    run_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    finish_time: _timestamp_pb2.Timestamp
    cancel_requested: bool
    task_data: _payload_pb2.Payload
    priority: int
    user: str
    labels: _containers.RepeatedCompositeFieldContainer[_label_pb2.Label]
    required_labels: _containers.RepeatedCompositeFieldContainer[_label_pb2.Label]
    execution_timeout: _duration_pb2.Duration
    retry_policy: RetryPolicy
    traceparent: str
    def __init__(self, namespace: _Optional[str] = ..., task_id: _Optional[str] = ..., capability: _Optional[str] = ..., state: _Optional[_Union[TaskState, str]] = ..., attempt: _Optional[int] = ..., max_attempts: _Optional[int] = ..., waiting_reason: _Optional[str] = ..., outcome: _Optional[_Union[_outcome_pb2.Outcome, _Mapping]] = ..., last_failure: _Optional[_Union[_outcome_pb2.Failed, _Mapping]] = ..., agent_id: _Optional[str] = ..., session_id: _Optional[str] = ..., submit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., run_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finish_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cancel_requested: bool = ..., task_data: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., priority: _Optional[int] = ..., user: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[_label_pb2.Label, _Mapping]]] = ..., required_labels: _Optional[_Iterable[_Union[_label_pb2.Label, _Mapping]]] = ..., execution_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry_policy: _Optional[_Union[RetryPolicy, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class TaskEvent(_message.Message):
    __slots__ = ("time", "state", "attempt", "agent_id", "waiting_reason", "progress", "last_failure", "outcome")
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    WAITING_REASON_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    state: TaskState
    attempt: int
    agent_id: str
    waiting_reason: str
    progress: TaskProgress
    last_failure: _outcome_pb2.Failed
    outcome: _outcome_pb2.Outcome
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[TaskState, str]] = ..., attempt: _Optional[int] = ..., agent_id: _Optional[str] = ..., waiting_reason: _Optional[str] = ..., progress: _Optional[_Union[TaskProgress, _Mapping]] = ..., last_failure: _Optional[_Union[_outcome_pb2.Failed, _Mapping]] = ..., outcome: _Optional[_Union[_outcome_pb2.Outcome, _Mapping]] = ...) -> None: ...

class TaskProgress(_message.Message):
    __slots__ = ("fraction", "message", "output")
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    fraction: float
    message: str
    output: _payload_pb2.Payload
    def __init__(self, fraction: _Optional[float] = ..., message: _Optional[str] = ..., output: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...
