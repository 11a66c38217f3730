"""What is done to a chunk: numpy in, numpy out. Imported by workers: numpy and the standard library only."""

from zaudio.ops.builtin import BUILTIN, Op, Parameter, describe_op, describe_ops
from zaudio.ops.chain import Chain, prepare_chain
from zaudio.ops.functions import Allowed, import_allowed
from zaudio.ops.spec import OpSpec, Requested, offers, parse, parse_chain
from zaudio.steps import Scalar, Step

__all__ = [
    # what users ask for
    "OpSpec",
    "Requested",
    "Scalar",
    "offers",
    "parse",
    "parse_chain",
    # what there is
    "BUILTIN",
    "Op",
    "Parameter",
    "describe_op",
    "describe_ops",
    # users' own functions
    "Allowed",
    "import_allowed",
    # what is applied
    "Chain",
    "Step",
    "prepare_chain",
]
