"""Splits: batches, random choices that can be repeated, what is kept in memory, loaders."""

import pickle
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hwflow.data import Data, Split, Stream
from hwflow.data import split as split_module
from hwflow.data.sources import TensorSource
from hwflow.errors import DataError


class Counting:
    """A source whose image i is filled with i; counts what it reads."""

    bytes_per_image: int | None = 4

    def __init__(self, count: int) -> None:
        self.targets = torch.arange(count) % 3
        self.reads: list[int] = []

    def read(self, indices: object) -> Tensor:
        wanted = list(indices)  # type: ignore[call-overload]
        self.reads += wanted
        return torch.tensor(wanted, dtype=torch.float32).view(-1, 1, 1, 1)

    def digest(self) -> str:
        return "abc"


def numbers(batches: object) -> list[list[int]]:
    """Return which images each batch holds; checks that targets go with them."""
    found = []
    for inputs, targets in batches:  # type: ignore[attr-defined]
        ids = [int(value) for value in inputs.flatten()]
        assert [i % 3 for i in ids] == targets.tolist()
        found.append(ids)
    return found


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


@given(count=st.integers(1, 50), size=st.integers(1, 60))
def test_batches_hold_every_image_once_in_order(count: int, size: int) -> None:
    found = numbers(Split("val", Counting(count)).batches(size))
    assert flat(found) == list(range(count))
    assert all(len(batch) == size for batch in found[:-1])


@given(count=st.integers(1, 50), size=st.integers(1, 60), limit=st.integers(1, 60))
def test_a_limit_is_a_fixed_choice(count: int, size: int, limit: int) -> None:
    split = Split("val", Counting(count))
    chosen = flat(numbers(split.batches(size, limit)))
    assert len(chosen) == min(limit, count)
    assert chosen == sorted(set(chosen))
    assert chosen == flat(numbers(split.batches(size + 1, limit)))


def test_a_limit_does_not_take_the_first_classes_only() -> None:
    split = Split("val", Counting(999))
    split.source.targets = torch.arange(999) // 333  # sorted by class, as files are
    taken = torch.cat([targets for _, targets in split.batches(100, limit=90)])
    assert torch.bincount(taken).min() > 15


@given(count=st.integers(1, 50), size=st.integers(1, 60), seed=st.integers(0, 5))
def test_shuffled_batches_are_full_and_hold_no_image_twice(
    count: int, size: int, seed: int
) -> None:
    split = Split("train", Counting(count))
    found = numbers(split.shuffled(size, seed))
    together = flat(found)
    assert len(set(together)) == len(together)
    assert len(found) == max(1, count // size)
    assert all(len(batch) == min(size, count) for batch in found)
    assert found == numbers(split.shuffled(size, seed))


def test_another_seed_is_another_order() -> None:
    split = Split("train", Counting(50))
    assert numbers(split.shuffled(10, 0)) != numbers(split.shuffled(10, 1))


def test_a_sample_has_no_image_twice_and_is_repeatable() -> None:
    split = Split("train", Counting(50))
    one = split.sample(20, seed=3).flatten().tolist()
    assert len(set(one)) == 20
    assert one == split.sample(20, seed=3).flatten().tolist()
    assert one != split.sample(20, seed=4).flatten().tolist()
    assert len(split.sample(99)) == 50


def test_the_head_is_the_first_images() -> None:
    split = Split("test", Counting(10))
    assert split.head(3).flatten().tolist() == [0, 1, 2]
    assert len(split.head(99)) == 10
    assert split.inputs[:3].flatten().tolist() == [0, 1, 2]
    assert split.head(3).flatten().tolist() == [0, 1, 2]


def test_small_splits_are_read_once() -> None:
    split = Split("val", Counting(20))
    for _ in range(3):
        numbers(split.batches(7))
    assert sorted(split.source.reads) == list(range(20))


def test_large_splits_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_module, "CACHE_BYTES", 79)
    split = Split("val", Counting(20))
    for _ in range(2):
        assert len(numbers(split.batches(7))) == 3
    assert len(split.source.reads) == 40


def test_what_is_in_memory_is_not_kept_twice() -> None:
    inputs = torch.randn(6, 1, 2, 2)
    split = Split("val", TensorSource(inputs, torch.zeros(6)))
    assert split.inputs.data_ptr() == inputs.data_ptr()


def test_copies_for_other_processes_leave_the_kept_images_out() -> None:
    split = Split("val", Counting(5))
    assert "_kept" not in split.__dict__
    numbers(split.batches(2))
    assert "_kept" in split.__dict__
    again = pickle.loads(pickle.dumps(split))  # noqa: S301  (our own bytes)
    assert "_kept" not in again.__dict__
    assert numbers(again.batches(5)) == [[0, 1, 2, 3, 4]]


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match="'val' has no images"):
        Split("val", Counting(0))


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="1 image or more, not 0"):
        list(Split("val", Counting(3)).batches(0))


def test_a_data_set_makes_its_splits_once() -> None:
    made: list[str] = []

    def make() -> Split:
        made.append("val")
        return Split("val", Counting(4))

    data = Data("mine", {"val": make})
    assert made == []
    assert data.val is data.val
    assert made == ["val"]
    assert data.names == ("val",)


def test_a_missing_split_says_which_there_are() -> None:
    with pytest.raises(DataError, match=r"no split 'test' \(it has: none\)"):
        _ = Data("mine", {}).test


def test_calibration_is_drawn_from_the_training_split() -> None:
    data = Data("mine", {"train": lambda: Split("train", Counting(300))})
    assert len(data.calibration()) == 256
    assert data.calibration(9, seed=2).tolist() == data.train.sample(9, 2).tolist()
    with pytest.raises(DataError, match="1 image or more, not 0"):
        data.calibration(0)


def stream(*sizes: int) -> Stream:
    """Return a loader of batches of these sizes; images are numbered through."""
    batches, start = [], 0
    for size in sizes:
        ids = torch.arange(start, start + size)
        batches.append((ids.float().view(-1, 1, 1, 1), ids % 3))
        start += size
    return Stream("train", batches, lambda batch, name: batch)


def test_a_stream_keeps_its_own_batches() -> None:
    assert numbers(stream(3, 2)) == [[0, 1, 2], [3, 4]]
    assert stream(3, 2).inputs.flatten().tolist() == [0, 1, 2, 3, 4]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 30))
def test_a_stream_stops_at_the_limit(sizes: list[int], limit: int) -> None:
    found = flat(numbers(stream(*sizes).batches(limit=limit)))
    assert found == list(range(min(limit, sum(sizes))))


def test_an_empty_stream_has_no_images() -> None:
    with pytest.raises(DataError, match="no images"):
        stream().head(3)


def test_a_stream_that_shuffles_draws_from_the_seed() -> None:
    class Shuffling:
        def __iter__(self) -> object:
            for index in torch.randperm(100).split(10):
                yield index.float().view(-1, 1, 1, 1), index % 3

    loader = Stream("train", Shuffling(), lambda batch, name: batch)
    before = torch.get_rng_state()
    one = loader.sample(15, seed=1)
    assert torch.equal(one, loader.sample(15, seed=1))
    assert not torch.equal(one, loader.sample(15, seed=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_streams_of_another_length_have_another_digest() -> None:
    assert stream(3, 2).digest == stream(3, 2).digest
    assert stream(3, 2).digest != stream(3, 2, 2).digest
