"""What an agent has learnt, in a safetensors file: from level to level, or from run to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hwflow.errors import HwflowError
from hwflow.files import whole


def save_agent(agent: Any, path: Path | str) -> None:
    """Write the weights of all networks of a Stable-Baselines3 agent."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    state = agent.policy.state_dict()
    with whole(target) as part:
        save_file({n: value.detach().clone().contiguous() for n, value in state.items()}, part)


def load_agent(agent: Any, path: Path | str) -> None:
    """Give an agent the weights of a file.

    Raises HwflowError when the file cannot be read, or is of another kind of agent or state.
    """
    try:
        agent.policy.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise HwflowError(f"The agent {path} cannot be read: {error}.") from error
    except RuntimeError as error:
        raise HwflowError(
            f"The agent {path} does not fit: it is of another kind, other layer sizes or another "
            "state. Start from one with the same settings (agent, hidden, hardware)."
        ) from error
