"""What an adapter costs is what torch's own counter says, and asking brings no compiler."""

import subprocess
import sys

import pytest
import torch
from pydantic import JsonValue
from torch.utils.flop_counter import FlopCounterMode

from icecore.store import open_store
from icecore.train import TrainSettings
from icecore.train.adapters import ADAPTERS, get_adapter
from icecore.train.adapters.adapter import make_scope
from icecore.train.selection.cost import Costs
from icecore.train.sweep.forward import forward
from icecore.train.sweep.grid import sweep
from icecore.train.tokens.batch import make_batch

from ..conftest import MakeStore

PROBE = """
import sys
from icecore.store import open_store
from icecore.train import TrainSettings
from icecore.train.selection.cost import Costs
from icecore.train.sweep.grid import sweep
store = open_store(sys.argv[1])
print(Costs(store).adapter(sweep(store, TrainSettings(adapters=("inca",)))[0]), "torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("name", ADAPTERS)
def test_products_are_counted_as_torch_counts_them(name: str, make_store: MakeStore) -> None:
    store = open_store(make_store())
    options: dict[str, dict[str, list[JsonValue]]] = {"efficient": {"num_slices": [4]}} if name == "efficient" else {}
    for candidate in sweep(store, TrainSettings(adapters=(name,), options=options)):
        family = get_adapter(name)
        scope = make_scope(store, candidate.layers, family)
        adapter = family.build(family.recorded(candidate.config), scope, [0])
        tokens = {layer: torch.zeros(1, spec.num_tokens, spec.width) for layer, spec in scope.specs.items()}
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            forward([adapter], make_batch(tokens, scope.specs, scope.eps, adapter.reads))
        assert Costs(store).adapter(candidate) == counter.get_total_flops() // 2 > 0


def test_counting_brings_no_compiler(make_store: MakeStore) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE, make_store()], capture_output=True, text=True, check=True)
    count, has_compiler = done.stdout.split()
    assert int(count) > 0
    assert has_compiler == "False"
