"""What a trial of training has found, as it is handed from the process that tried to the one that asked.

Knows figures, nothing of tensors: whoever reads them need not load torch.
"""

from pydantic import BaseModel, ConfigDict


class TrialResult(BaseModel):
    """Figures of one network on one machine.

    step_seconds: the median. look_seconds: to score one held-out window, on average. peak_bytes: of the
    GPU's memory where there is one, else of the whole process. micro_batch: windows at a time, where the
    memory does not hold a batch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_parameters: int
    multiply_adds: float  # a generated sample
    num_steps: int
    step_seconds: float
    look_seconds: float
    peak_bytes: int
    device: str
    precision: str
    micro_batch: int | None
