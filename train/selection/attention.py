"""Attention maps: the attention weights of an adapter's queries, computed again for display.

Each family with queries gives their keys and folded queries through `ShowsAttention.attention_inputs`.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from icecore.store import Store

from ..adapters.adapter import Adapter
from ..adapters.optional import ShowsAttention
from ..runs.candidate import Candidate
from ..sweep.predict import load_stack
from ..tokens.batch import TokenBatch
from ..tokens.feed import StoreFeed


@torch.no_grad()
def attention(adapter: Adapter, batch: TokenBatch) -> Float[Tensor, "adapter row query head token"] | None:
    """Return attention weights that sum to 1 over tokens, 0 at tokens outside a query's view; None without queries."""
    looks = adapter.attention_inputs(batch) if isinstance(adapter, ShowsAttention) else None
    if looks is None:
        return None
    logits = torch.einsum("afw,rtw->arft", looks.folded.float(), looks.tokens.float())
    unseen = adapter.scope.spec.num_tokens - looks.tokens.shape[1]
    return pad(logits.softmax(-1), (unseen, 0)).unflatten(2, (-1, looks.num_heads))


def stored_attention(
    store: Store, candidate: Candidate, tensors: Mapping[str, Tensor], rows: Int64[np.ndarray, " row"]
) -> Float[Tensor, "row query head token"] | None:
    """Return the attention of a trained adapter at `rows` of a store, in their order; None if it has no queries."""
    cpu = torch.device("cpu")
    adapter = load_stack(store, [candidate], {candidate.adapter_id: tensors}, cpu)
    feed = StoreFeed(
        store=store, rows=rows, layers=candidate.layers, reads=adapter.reads, eps=adapter.scope.eps, device=cpu
    )
    weights = attention(adapter, feed.batch(torch.arange(len(rows))))
    return None if weights is None else weights[0]
