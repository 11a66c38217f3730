"""Ops: numpy in, numpy out. Workers import this, so it imports numpy and the standard library only."""

from zaudio.ops.builtin import BUILTIN, Op, Parameter, describe_op, describe_ops
from zaudio.ops.chain import Chain, prepare_chain
from zaudio.ops.functions import Allowed, import_allowed
from zaudio.ops.spec import OpSpec, Requested, offers, op, parse, parse_chain
from zaudio.steps import Scalar, Step

__all__ = [
    # requests
    "OpSpec",
    "Requested",
    "Scalar",
    "offers",
    "op",
    "parse",
    "parse_chain",
    # built in
    "BUILTIN",
    "Op",
    "Parameter",
    "describe_op",
    "describe_ops",
    # users' own functions
    "Allowed",
    "import_allowed",
    # application
    "Chain",
    "Step",
    "prepare_chain",
]
