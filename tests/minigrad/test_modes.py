"""no_grad and its kin as blocks and decorators of every kind of function, where possible beside PyTorch."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import threading

import numpy as np
import pytest

import minigrad
from minigrad.autocast import bf16_enabled

MODES = {
    "no_grad": (minigrad.no_grad, minigrad.is_grad_enabled, False),
    "inference_mode": (minigrad.inference_mode, minigrad.is_grad_enabled, False),
    "set_grad_enabled": (lambda: minigrad.set_grad_enabled(False), minigrad.is_grad_enabled, False),
    "autocast": (minigrad.autocast, bf16_enabled, True),
}
EVERY_MODE = pytest.mark.parametrize(("mode", "asked", "inside"), MODES.values(), ids=list(MODES))


@pytest.fixture(autouse=True)
def _nothing_is_left_on():
    yield
    assert minigrad.is_grad_enabled()
    assert not bf16_enabled()


def run(coroutine):
    """A coroutine to its end, noting at each suspension what the loop sees."""
    return asyncio.run(coroutine)


@EVERY_MODE
def test_plain_functions_and_what_is_called_like_one(mode, asked, inside):
    class Asking:
        def __call__(self):
            return asked()

        @mode()
        def method(self):
            return asked()

        @mode()
        @staticmethod
        def static():
            return asked()

        @staticmethod
        @mode()
        def static_inside():
            return asked()

        @mode()
        @classmethod
        def of_the_class(cls):
            assert cls is Asking
            return asked()

    calls = [mode()(lambda: asked()), mode()(Asking()), mode()(functools.partial(asked)), mode()(Asking().method)]
    one = Asking()
    for call in [*calls, one.method, one.static, Asking.static, one.static_inside, one.of_the_class, mode()(asked)]:
        assert call() is inside
        assert asked() is not inside


@EVERY_MODE
def test_an_exception_restores_the_mode_and_names_are_kept(mode, asked, inside):
    @mode()
    def fails(a, *, b=2):
        """Says so."""
        raise KeyError("x")

    with pytest.raises(KeyError):
        fails(1)
    assert asked() is not inside
    assert (fails.__name__, fails.__doc__) == ("fails", "Says so.")
    assert str(inspect.signature(fails)) == "(a, *, b=2)"


def conversation(asked):
    """A generator that takes part in everything a generator can, and says what it sees."""
    received = yield asked()
    assert received == "hello"
    try:
        yield asked()
    except ValueError:
        yield asked()
    return asked()


@EVERY_MODE
def test_generators_send_throw_and_return(mode, asked, inside):
    generator = mode()(conversation)(asked)
    assert inspect.isgenerator(generator)
    assert (next(generator), asked()) == (inside, not inside)
    assert (generator.send("hello"), asked()) == (inside, not inside)
    assert (generator.throw(ValueError), asked()) == (inside, not inside)
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value is inside
    assert asked() is not inside


@EVERY_MODE
def test_a_generator_that_is_closed_or_dropped_cleans_up_inside(mode, asked, inside):
    seen = []

    @mode()
    def cleaning():
        try:
            yield
        finally:
            seen.append(asked())

    first, second = cleaning(), cleaning()
    next(first)
    next(second)
    first.close()
    del second
    assert seen == [inside, inside]
    assert asked() is not inside


@EVERY_MODE
def test_between_two_steps_the_mode_is_that_of_whoever_resumes(mode, asked, inside):
    @mode()
    def steps():
        for _ in range(3):
            yield asked()

    one, other = steps(), steps()
    assert [next(one), next(other), next(one), next(other)] == [inside] * 4
    with minigrad.enable_grad(), minigrad.autocast(enabled=False):
        assert list(one) == [inside]
    assert inspect.isgeneratorfunction(steps)


@EVERY_MODE
def test_coroutines(mode, asked, inside):
    outside = []

    async def other():
        for _ in range(5):
            outside.append(asked())
            await asyncio.sleep(0)

    @mode()
    async def asking():
        seen = []
        for _ in range(5):
            seen.append(asked())
            await asyncio.sleep(0)
        return seen

    async def both():
        return (await asyncio.gather(asking(), other(), asking()))[::2]

    assert inspect.iscoroutinefunction(asking)
    assert run(both()) == [[inside] * 5] * 2
    assert outside == [not inside] * 5


@EVERY_MODE
def test_a_coroutine_that_is_cancelled_or_fails(mode, asked, inside):
    seen = []

    @mode()
    async def waiting():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(asked())

    async def cancelling():
        task = asyncio.ensure_future(waiting())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asked() is not inside

    run(cancelling())
    assert seen == [inside]


@EVERY_MODE
def test_asynchronous_generators(mode, asked, inside):
    ended = []

    @mode()
    async def asking():
        try:
            received = yield asked()
            await asyncio.sleep(0)
            assert received == "hello"
            try:
                yield asked()
            except ValueError:
                yield asked()
        finally:
            ended.append(asked())

    async def talk():
        generator = asking()
        assert inspect.isasyncgen(generator)
        assert await anext(generator) is inside
        assert asked() is not inside
        assert await generator.asend("hello") is inside
        assert await generator.athrow(ValueError) is inside
        assert asked() is not inside
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
        async for found in asking():
            assert found is inside
            break
        stopped = asking()
        await anext(stopped)
        await stopped.aclose()

    run(talk())
    assert ended[:2] == [inside, inside]


def test_without_brackets():
    @minigrad.no_grad
    def asks():
        return minigrad.is_grad_enabled()

    @minigrad.inference_mode
    def also():
        return minigrad.is_grad_enabled()

    @minigrad.no_grad
    def steps():
        yield minigrad.is_grad_enabled()

    @minigrad.enable_grad
    def records():
        return minigrad.is_grad_enabled()

    assert not asks()
    assert not also()
    assert list(steps()) == [False]
    with minigrad.no_grad():
        assert records()
    assert asks.__name__ == "asks"


@pytest.mark.parametrize("wrong", [type("Net", (), {}), property(lambda self: 1), "text", None])
@pytest.mark.parametrize("mode", [minigrad.no_grad(), minigrad.set_grad_enabled(True), minigrad.autocast()])
def test_what_cannot_be_decorated_is_refused_with_a_sentence(mode, wrong):
    with pytest.raises(TypeError, match=r"^\w+: got (the class Net|a property|'.*'|None) to decorate; expected a fun"):
        mode(wrong)


def test_classes_are_refused_without_brackets_too():
    for mode in (minigrad.no_grad, minigrad.enable_grad, minigrad.inference_mode):
        with pytest.raises(TypeError, match=r"got the class Net to decorate"):
            mode(type("Net", (), {}))


def test_set_grad_enabled_as_call_block_and_decorator():
    minigrad.set_grad_enabled(False)
    assert not minigrad.is_grad_enabled()
    minigrad.set_grad_enabled(True)
    with minigrad.set_grad_enabled(False):
        assert not minigrad.is_grad_enabled()
    assert minigrad.is_grad_enabled()

    @minigrad.set_grad_enabled(False)
    def asks():
        return minigrad.is_grad_enabled()

    assert minigrad.is_grad_enabled()  # decorating alone changes nothing
    assert not asks()
    block = minigrad.set_grad_enabled(np.bool_(False))
    for _ in range(2):
        with block:
            assert not minigrad.is_grad_enabled()
        assert minigrad.is_grad_enabled()


@pytest.mark.parametrize("wrong", [1, 0, "no", None])
def test_a_mode_that_is_no_bool_is_refused(wrong):
    with pytest.raises(TypeError, match=r"set_grad_enabled: mode is .*; expected True or False"):
        minigrad.set_grad_enabled(wrong)
    with pytest.raises(TypeError, match=r"inference_mode: mode is .*; expected True or False"):
        minigrad.inference_mode(wrong)


def test_inference_mode_can_be_switched_off():
    with minigrad.no_grad(), minigrad.inference_mode(False):
        assert minigrad.is_grad_enabled()


def test_autocast_without_brackets_says_what_it_wants():
    with pytest.raises(TypeError, match="autocast: device_type is a function; expected 'cpu' or 'cuda' in brackets"):
        minigrad.autocast(lambda: None)


@EVERY_MODE
def test_blocks_in_generators_end_in_any_order(mode, asked, inside):
    def steps():
        with mode():
            yield asked()

    one, other, third = steps(), steps(), steps()
    assert [next(one), next(other), next(third)] == [inside] * 3
    other.close()
    one.close()
    assert asked() is inside  # the third is still open
    third.close()
    assert asked() is not inside


@minigrad.no_grad()
def importable():
    return minigrad.is_grad_enabled()


def test_a_decorated_function_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(importable)) is importable


def test_one_block_object_in_two_threads():
    block, entered, left = minigrad.no_grad(), threading.Event(), threading.Event()
    seen = []

    def other():
        with block:
            entered.set()
            left.wait(60)
            seen.append(minigrad.is_grad_enabled())
        seen.append(minigrad.is_grad_enabled())

    thread = threading.Thread(target=other)
    with block:
        thread.start()
        assert entered.wait(60)
    assert minigrad.is_grad_enabled()
    left.set()
    thread.join()
    assert seen == [False, True]


@pytest.mark.parametrize("name", ["no_grad", "set_grad_enabled", "inference_mode"])
def test_generators_and_nesting_equal_torch(name):
    torch = pytest.importorskip("torch")

    def story(lib):
        mode = getattr(lib, name)
        make = (lambda: mode(False)) if name == "set_grad_enabled" else mode
        seen = []

        @make()
        def steps():
            seen.append(lib.is_grad_enabled())
            with lib.enable_grad():
                yield
                seen.append(lib.is_grad_enabled())
            yield
            seen.append(lib.is_grad_enabled())

        for _ in steps():
            seen.append(lib.is_grad_enabled())
            with lib.no_grad():
                seen.append(lib.is_grad_enabled())
        return seen

    assert story(minigrad) == story(torch)
