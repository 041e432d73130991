import pytest
import torch
from torch import Tensor, nn

from icecore.train.modules.folded import attend, fold, project, project_values

NUM_ADAPTERS, NUM_ROWS, NUM_TOKENS, NUM_QUERIES, WIDTH = 3, 5, 11, 2, 24


def explicit(layer: nn.MultiheadAttention, norm: nn.LayerNorm, query: Tensor, tokens: Tensor) -> Tensor:
    keys = norm(tokens)
    return layer(query.expand(len(tokens), -1, -1), keys, keys, need_weights=False)[0]


def folded(layer: nn.MultiheadAttention, norm: nn.LayerNorm, query: Tensor, tokens: Tensor) -> Tensor:
    """The same attention as a stack of one, from tokens normalised without affine; the key bias is not even given."""
    weights, biases = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    gamma, beta = norm.weight[None], norm.bias[None]
    heads = layer.num_heads
    queries = fold((query @ weights[0].T + biases[0])[None], weights[1][None], heads, gamma)
    normalised = nn.functional.layer_norm(tokens, (WIDTH,), eps=norm.eps)
    pooled = attend(normalised, queries[0])[None]
    values = project_values(pooled, weights[2][None], biases[2][None], heads, gamma, beta)
    return values[0] @ layer.out_proj.weight.T + layer.out_proj.bias


def parts(num_heads: int, dtype: torch.dtype) -> tuple[nn.MultiheadAttention, nn.LayerNorm, Tensor, Tensor]:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(WIDTH, num_heads, batch_first=True, dtype=dtype)
    norm = nn.LayerNorm(WIDTH, dtype=dtype)
    for parameter in [*layer.parameters(), *norm.parameters()]:
        nn.init.normal_(parameter, std=0.5)  # biases too: the key bias must cancel, not be absent
    tokens = torch.randn(NUM_ROWS, NUM_TOKENS, WIDTH, dtype=dtype) * 2 + 1
    return layer, norm, torch.randn(NUM_QUERIES, WIDTH, dtype=dtype), tokens


@pytest.mark.parametrize("num_heads", [1, 3, 8])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_folded_attention_equals_torchs_own(num_heads: int, dtype: torch.dtype, bound: float) -> None:
    given = parts(num_heads, dtype)
    found, expected = folded(*given), explicit(*given)
    assert (found - expected).abs().max() <= bound * expected.abs().max().clamp_min(1)


@pytest.mark.parametrize("num_heads", [1, 3])
def test_folded_attention_has_the_gradients_of_torchs_own(num_heads: int) -> None:
    layer, norm, query, tokens = parts(num_heads, torch.float64)
    trained = [layer.in_proj_weight, layer.in_proj_bias, norm.weight, norm.bias]
    toward = torch.randn(NUM_ROWS, NUM_QUERIES, WIDTH, dtype=torch.float64)
    ours, theirs = (
        torch.autograd.grad((function(layer, norm, query, tokens) * toward).sum(), trained)
        for function in (folded, explicit)
    )
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-9)


def test_all_adapters_in_one_product_equal_each_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(NUM_ROWS, NUM_TOKENS, WIDTH, generator=generator)
    queries = torch.randn(NUM_ADAPTERS * NUM_QUERIES, WIDTH, generator=generator)
    together = attend(tokens, queries)
    for index, query in enumerate(queries):
        torch.testing.assert_close(together[:, index : index + 1], attend(tokens, query[None]))


def test_bfloat16_tokens_lose_no_more_than_their_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(NUM_ROWS, NUM_TOKENS, WIDTH, generator=generator)
    queries = torch.randn(NUM_QUERIES, WIDTH, generator=generator) / 5
    error = attend(tokens.bfloat16(), queries).float() - attend(tokens, queries)
    assert error.abs().max() < 0.02


def test_attention_weights_are_all_that_is_kept_for_the_backward_pass() -> None:
    """What autograd saves beyond the tokens is of the size of the logits and of the folded queries."""
    tokens = torch.randn(NUM_ROWS, NUM_TOKENS, WIDTH)
    queries = torch.randn(NUM_QUERIES, WIDTH, requires_grad=True)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        attend(tokens, queries)
    own = [tensor for tensor in saved if tensor.untyped_storage().data_ptr() != tokens.untyped_storage().data_ptr()]
    sizes = {NUM_ROWS * NUM_QUERIES * NUM_TOKENS, NUM_ROWS * NUM_QUERIES * WIDTH, NUM_QUERIES * WIDTH}
    assert {tensor.numel() for tensor in own} <= sizes


@pytest.mark.parametrize("num_rows", [1, 3])
def test_project_has_the_gradients_of_matmul(num_rows: int) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(2, num_rows, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(project, (inputs, weight))
    torch.testing.assert_close(project(inputs, weight), inputs @ weight.transpose(1, 2))
