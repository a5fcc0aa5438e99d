"""The loops of the official code, written plainly: what the engine is measured against.

Each does for every query slice what its repository does: support and query encoded together at the
official layout, layers run although nobody uses them, features upsampled to 256x256 to take one
average, attention matrices written out, everything in float32 and through the whole trunk on the
way back. They are written from the description of the repositories, share no head code with the
package, and bear the weights of the package's networks, so that predictions can be compared.
"""

from __future__ import annotations

from reference_loops.base import Loop
from reference_loops.catnet import CATNetLoop
from reference_loops.dpcenet import DPCENetLoop
from reference_loops.gmrd import GMRDLoop
from reference_loops.qnet import QNetLoop
from reference_loops.rpt import RPTLoop
from reference_loops.ssl_alpnet import SSLALPNetLoop
from reference_loops.thresholds import ADNetLoop, PANetLoop

LOOPS: dict[str, type[Loop]] = {
    "panet": PANetLoop,
    "adnet": ADNetLoop,
    "ssl_alpnet": SSLALPNetLoop,
    "qnet": QNetLoop,
    "catnet": CATNetLoop,
    "rpt": RPTLoop,
    "gmrd": GMRDLoop,
    "dpcenet": DPCENetLoop,
}
