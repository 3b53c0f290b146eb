import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from legion import Agent, AttemptCanceled, TaskContext, TaskError
from legion._addresses import addresses
from legion._backoff import full_jitter
from legion._handlers import as_handler
from legion._json import read_task_data, write_result
from legion._threads import DaemonThreads


def test_backoff_doubles_to_its_maximum_and_is_anything_below() -> None:
    ceilings = [full_jitter(n, initial=0.05, maximum=5.0, chance=lambda: 1.0) for n in range(1, 12)]
    assert ceilings[:8] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert full_jitter(10**9, chance=lambda: 1.0) == 5.0
    assert full_jitter(5, chance=lambda: 0.0) == 0.0


def test_addresses() -> None:
    assert addresses("registry", None, {}) == ["127.0.0.1:7401"]
    assert addresses("dispatcher", None, {"LEGION_PORT_BASE": "9000"}) == ["127.0.0.1:9002"]
    assert addresses("registry", None, {"LEGION_REGISTRY": "a:1, b:2"}) == ["a:1", "b:2"]
    assert addresses("registry", "[::1]:5", {"LEGION_REGISTRY": "a:1"}) == ["[::1]:5"]
    for wrong in ["localhost", "a:b", ":1", "a:70000", ","]:
        with pytest.raises(ValueError, match="address of a Registry"):
            addresses("registry", wrong, {})


@pytest.mark.parametrize("value", [{}, {"ü": [None, 2**53 - 1, 0.1, "🦉", "\x00", "\ud800"]}])
def test_json_comes_back(value: dict[str, Any]) -> None:
    assert read_task_data(write_result(value, 1_000)) == value


def test_results_that_cannot_be_sent() -> None:
    circle: dict[str, Any] = {}
    circle["itself"] = circle
    for wrong in [{"n": float("nan")}, {"x": object()}, circle, {("a", 1): 2}]:
        with pytest.raises(TaskError) as error:
            write_result(wrong, 1_000)
        assert (error.value.code, error.value.retryable) == ("RESULT_NOT_SERIALIZABLE", False)
    with pytest.raises(TaskError) as error:
        write_result({"ü": "ü" * 10}, 20)
    assert error.value.code == "RESULT_TOO_LARGE"


def test_task_data_that_is_no_object() -> None:
    for wrong in [b"[1]", b"{", b"\xff", b"[" * 200_000]:
        with pytest.raises(TaskError) as error:
            read_task_data(wrong)
        assert error.value.code == "TASK_DATA_INVALID"
    assert read_task_data(b"") == {}


def test_handlers_take_the_context_or_leave_it_out() -> None:
    class Thing:
        def method(self, data: Any) -> Any:
            return data

    def with_default(data: Any, context: Any = None) -> Any:
        return context

    context = TaskContext()
    assert as_handler(lambda data: data)({"a": 1}, context) == {"a": 1}
    assert as_handler(lambda data, context: context)({}, context) is context
    assert as_handler(with_default)({}, context) is context
    assert as_handler(lambda *both: both)({}, context) == ({}, context)
    assert as_handler(Thing().method)({"a": 1}, context) == {"a": 1}
    assert as_handler(functools.partial(with_default, context=1))({}, context) == 1
    wrongs: list[Callable[..., None]] = [lambda: None, lambda a, b, c: None]
    for wrong in wrongs:
        with pytest.raises(TypeError, match="a task's data"):
            as_handler(wrong)


def test_a_capability_has_one_handler() -> None:
    agent = Agent("a")

    @agent.capability()
    def greet(data: dict[str, Any]) -> dict[str, Any]:
        return data

    assert greet({"x": 1}) == {"x": 1}
    with pytest.raises(ValueError, match="already"):
        agent.capability("greet")(greet)
    with pytest.raises(TaskError, match="no handler of other"):
        agent.handler_of("other")


def test_costs_are_whole_numbers() -> None:
    context = TaskContext()
    context.report_costs({"llm_tokens": 3})
    context.report_costs({"llm_tokens": 5, "calls": 1})
    assert context.costs == {"llm_tokens": 5, "calls": 1}
    too_many = {f"u{n}": 1 for n in range(15)}
    for wrong in [{"a b": 1}, {"a": -1}, {"a": 1.5}, {"a": True}, {"a": 10**13}, too_many]:
        with pytest.raises(ValueError, match="cost"):
            context.report_costs(wrong)  # type: ignore[arg-type]


def test_there_is_a_thread_for_every_call() -> None:
    threads, all_there, names = DaemonThreads("t"), threading.Barrier(9), set[str]()

    def meet() -> None:
        names.add(threading.current_thread().name)
        all_there.wait(10)

    for _ in range(2):
        for _ in range(8):
            threads.submit(meet)
        all_there.wait(10)
    # Those of the first round may still be on their way back.
    assert 8 <= len(names) <= 16
    threads.close()


def test_a_context_is_made_by_hand() -> None:
    context = TaskContext()
    context.progress(0.5, "half")
    context.sleep(0)
    context.canceled.set()
    with pytest.raises(AttemptCanceled, match="The task was canceled"):
        context.sleep(60)
