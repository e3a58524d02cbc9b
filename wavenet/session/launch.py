"""Several sessions of one job on this machine: `torchrun`, less its traces of processes that failed or ended.

Knows nothing of the job. The invariant: why something failed is told by the session's own message; here the
exit status says that something did.
"""

import logging
import sys
from collections.abc import Sequence

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def main(arguments: Sequence[str]) -> int:
    """torchrun's arguments. 0 when all are done, 1 when one failed, 3 when they were ended."""
    logging.disable(logging.ERROR)
    try:
        run.run(run.parse_args(list(arguments)))
        return 0
    except ChildFailedError:
        return 1
    except SignalException:
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
