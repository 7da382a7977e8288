"""The child process that reads a pickled state dict: SOURCE... TARGET.safetensors.

Only tensors are read (``weights_only``); whatever the file does beyond that ends with this process.
Prefixes that wrappers of torch leave in the names are taken off.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from safetensors.torch import save_file

# Keys under which trainings keep the model's tensors, and what wrappers put into the names.
INSIDE = ("state_dict", "model_state_dict", "model", "module", "weights")
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
LEADING = "module."


def state_dict_in(loaded: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of a loaded file by name; raises ValueError where there are none."""
    for _ in range(3):
        if not isinstance(loaded, dict):
            break
        if any(isinstance(value, torch.Tensor) for value in loaded.values()):
            return {str(k): v for k, v in loaded.items() if isinstance(v, torch.Tensor)}
        loaded = next((loaded[key] for key in INSIDE if key in loaded), None)
    raise ValueError(f"holds no state dict, nor one under {', '.join(INSIDE)}")


def plain_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Take wrappers' prefixes off; raises ValueError where two names become one."""
    plain: dict[str, torch.Tensor] = {}
    leading = all(name.startswith(LEADING) for name in tensors)
    for name, tensor in tensors.items():
        short = name
        for wrapper in WRAPPERS:
            short = short.replace(wrapper, "")
        short = short.removeprefix(LEADING) if leading else short
        if short in plain:
            raise ValueError(f"two tensors are called '{short}' without their wrappers")
        plain[short] = tensor
    return plain


def main() -> None:
    """Read every source into one safetensors file."""
    *sources, target = sys.argv[1:]
    tensors: dict[str, torch.Tensor] = {}
    for source in sources:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
        tensors |= plain_names(state_dict_in(loaded))
    # Each of its own memory: the file has no shared tensors.
    save_file({name: t.detach().clone().contiguous() for name, t in tensors.items()}, target)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # bytes of a stranger: one line, whatever comes of them
        print(" ".join(str(error).split(". ")[0].split())[:300], file=sys.stderr)
        sys.exit(2)
