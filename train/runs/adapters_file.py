"""RUN/adapters.safetensors, written one adapter at a time; tensors are named `ADAPTER_ID/NAME` and sorted by name.

The bytes depend on the adapters alone, not on the order in which workers trained them.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import IO, Any

import torch
from torch import Tensor

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_adapters(file: IO[bytes], trained: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Write the file and return its SHA-256.

    `trained` maps adapter_id to tensors by name; each value is read twice, for the header and for the data.
    """
    header: dict[str, Any] = {}
    offset = 0
    for key in sorted(trained):
        for name, tensor in sorted(trained[key].items()):
            end = offset + tensor.nbytes
            header[f"{key}/{name}"] = {
                "dtype": NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [offset, end],
            }
            offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    header_bytes = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(header_bytes)
    file.write(header_bytes)
    for key in sorted(trained):
        for _, tensor in sorted(trained[key].items()):
            data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
            digest.update(data)
            file.write(data)
    return digest.hexdigest()
