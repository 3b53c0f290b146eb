import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from legion._proto import cost_pb2 as _cost_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExecutionStats(_message.Message):
    __slots__ = ("duration", "memory_before_bytes", "memory_after_bytes", "heap_after_collection_bytes", "costs")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BEFORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_AFTER_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEAP_AFTER_COLLECTION_BYTES_FIELD_NUMBER: _ClassVar[int]
    COSTS_FIELD_NUMBER: _ClassVar[int]
    duration: _duration_pb2.Duration
    memory_before_bytes: int
    memory_after_bytes: int
    heap_after_collection_bytes: int
    costs: _containers.RepeatedCompositeFieldContainer[_cost_pb2.Cost]
    def __init__(self, duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., memory_before_bytes: _Optional[int] = ..., memory_after_bytes: _Optional[int] = ..., heap_after_collection_bytes: _Optional[int] = ..., costs: _Optional[_Iterable[_Union[_cost_pb2.Cost, _Mapping]]] = ...) -> None: ...
