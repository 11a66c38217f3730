"""Ops: numpy in, numpy out. Workers import this, so it imports numpy and the standard library only."""

from zaudio.ops.catalogue import BUILTIN, KERNELS, Described, describe_op, describe_ops
from zaudio.ops.chain import Chain, Course, Pass, graph_of, make_ops
from zaudio.ops.contract import BuiltIn, Combined, Exactness, Kernel, Op, Place, Precision
from zaudio.ops.declaring import op
from zaudio.ops.functions import Allowed, import_allowed
from zaudio.ops.graph import Graph
from zaudio.ops.spec import OpSpec, Requested, offers, parse, parse_chain
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
    # the contract of an op
    "BuiltIn",
    "Combined",
    "Exactness",
    "Kernel",
    "Op",
    "Place",
    "Precision",
    # built in
    "BUILTIN",
    "KERNELS",
    "Described",
    "describe_op",
    "describe_ops",
    # users' own functions
    "Allowed",
    "import_allowed",
    # application
    "Chain",
    "Course",
    "Graph",
    "Pass",
    "Step",
    "graph_of",
    "make_ops",
]
