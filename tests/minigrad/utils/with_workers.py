"""A script whose loaders start workers; ``test_workers`` runs it, case by case, and reads what it prints."""

import json
import os
import sys
import time

import minigrad as torch
from minigrad.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, get_worker_info


class Squares(Dataset):
    def __init__(self, size=11, bad=None):
        self.size, self.bad = size, bad

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index == self.bad:
            raise KeyError(f"no item {index}")
        return torch.tensor(float(index * index)), f"item {index}"


class Asking(Squares):
    def __getitem__(self, index):
        info = get_worker_info()
        return info.id, info.num_workers, len(info.dataset), torch.initial_seed() - info.seed, torch.rand(1).item()


class Counting(IterableDataset):
    """Each worker gives its share; the first has more than the others."""

    def __init__(self, ends=(7, 2, 4)):
        self.ends = ends

    def __iter__(self):
        worker = get_worker_info()
        if worker is None:
            return iter([(number, i) for number, end in enumerate(self.ends) for i in range(end)])
        return iter([(worker.id, i) for i in range(self.ends[worker.id])])


class Odd(Squares):
    def __getitem__(self, index):
        if self.bad == "killed":
            os.kill(os.getpid(), 9)
        if self.bad == "slow":
            time.sleep(60)
        if self.bad == "own error":
            raise StrangeError(1, 2)
        return lambda: index


class StrangeError(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and\n{b}")


def listed(batch):
    return [item for item, _ in batch]


def numbered(worker):
    torch.manual_seed(100 + worker)


def refuse(worker):
    raise ValueError("not today")


def plain(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def same_batches():
    """With workers and without them."""
    found = []
    for workers in (0, 2):
        torch.manual_seed(4)
        generator = torch.Generator().manual_seed(5)
        options = {"prefetch_factor": 3, "persistent_workers": True} if workers else {}
        loader = DataLoader(Squares(), 3, True, num_workers=workers, generator=generator, **options)
        epochs = [plain(list(loader)) for _ in range(2)]
        epochs.append(plain(next(iter(loader))))  # an epoch that is left early
        sampled = DataLoader(
            Squares(), 4, sampler=RandomSampler(Squares(), num_samples=30), drop_last=True, generator=generator
        )
        found.append([*epochs, plain(list(loader)), plain(list(sampled))])
    return found


def processes():
    """In turn, and seeded so that the next epoch goes on in them."""
    loader = DataLoader(Asking(6), batch_size=None, num_workers=2, persistent_workers=True, worker_init_fn=numbered)
    return [plain(list(loader)) for _ in range(2)]


def stream():
    loader = DataLoader(Counting(), batch_size=2, num_workers=3, collate_fn=list)
    rest = DataLoader(Counting(), batch_size=2, num_workers=3, collate_fn=list, drop_last=True)
    return [list(loader), list(rest), list(DataLoader(Counting(), batch_size=None, num_workers=3))]


def error_of(loader):
    count = 0
    try:
        for count, _ in enumerate(loader, 1):  # noqa: B007
            pass
    except Exception as error:
        return [count, type(error).__name__, str(error)]
    return [count, "", ""]


def errors():
    return {
        "item": error_of(DataLoader(Squares(bad=5), 2, num_workers=2)),
        "collate": error_of(DataLoader(Squares(), 2, num_workers=1, collate_fn=listed_wrong)),
        "start": error_of(DataLoader(Squares(), 2, num_workers=1, worker_init_fn=refuse)),
        "killed": error_of(DataLoader(Odd(bad="killed"), 2, num_workers=1)),
        "slow": error_of(DataLoader(Odd(bad="slow"), 2, num_workers=1, timeout=0.5)),
        "own error": error_of(DataLoader(Odd(bad="own error"), 2, num_workers=1)),
        "result": error_of(DataLoader(Odd(), None, num_workers=1)),
        "lambda": unsent({"collate_fn": lambda batch: batch}),
        "data set": unsent({"dataset": Local()}),
    }


def listed_wrong(batch):
    return {}["name"]


class Local(Squares):
    def __reduce__(self):
        raise TypeError("it holds an open file")


def unsent(options):
    try:
        return error_of(DataLoader(**{"dataset": Squares(), "num_workers": 2, **options}))
    except Exception as error:
        return [0, type(error).__name__, str(error)]


if __name__ == "__main__":
    cases = [same_batches, processes, stream, errors]
    print(json.dumps({case.__name__: case() for case in cases if case.__name__ in sys.argv[1:]}))
