"""Every bug that is planted, one at a time."""

from comparison.parity.planted.device import DEVICE
from comparison.parity.planted.late import LATE
from comparison.parity.planted.pieces import PIECES
from comparison.parity.planted.public import PUBLIC

PLANTED_BUGS = (*PIECES, *PUBLIC, *DEVICE, *LATE)
