"""The errors: they say one line, they pickle, and the tree in the docstring is the tree of the classes."""

import copy
import inspect
import pickle
import re

import pytest

from zaudio import errors

EXAMPLES = [
    errors.ZaudioError("something is wrong"),
    errors.UsageError("chunk: expected bytes"),
    errors.OutputExistsError("out/result.raw"),
    errors.FolderBusyError("out"),
    errors.ResumeError("out", "its ops were invert and not clip"),
    errors.EndpointError("tcp://127.0.0.1:5555", "the address is in use"),
    errors.ExposedError("tcp://0.0.0.0:5555"),
    errors.KeyFileError("keys/coordinator.secret", "holds no key"),
    errors.InputError("take.raw", "expected whole frames of 4 bytes, got 7 bytes"),
    errors.InputChangedError("take.raw", "it shrank from 8 to 4 bytes"),
    errors.JobError("the job failed"),
    errors.ChunkError(7, 4096, 8192, ("worker a: ValueError: no", "worker b: it died of signal 9 (SIGKILL)")),
    errors.ConflictError(7, "0a1b2c3d", "4e5f6a7b"),
    errors.WorkersDiedError("it exited with code 1", "Traceback\n  ...\nImportError: no numpy\n"),
    errors.StorageError("out", "Input/output error"),
    errors.DiskFullError("out", "No space left on device"),
    errors.StoppedError("the job was stopped before its end"),
    errors.VerificationError("out", "the tag differs"),
    errors.NoWorkerError("no worker could be given a chunk for 30 s"),
    errors.NoCoordinatorError("tcp://127.0.0.1:5555", 5.0),
    errors.LaunchError("ssh:hosts.txt", "there is no program ssh; install openssh-client"),
    errors.RefusedError("it lacks reverb"),
    errors.ProtocolError("a header of 5000 bytes is over the limit of 4096"),
]
CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, Exception) and cls.__module__ == errors.__name__
}


def by_class(error):
    return type(error).__name__


def fields(error):
    return {name: value for name, value in vars(error).items() if not name.startswith("_")}


def drawn_tree():
    """What the docstring draws: (name, name of the base, also a base, exit code) a line."""
    path, rows = [], []
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ((?:│   |    )*(?:├── |└── )?)(\w*Error)(?: \(also (\w+)\))?(?:\s+(\d+)  .*)?$", line)
        if match:
            depth = len(match[1]) // 4
            del path[depth:]
            rows.append((match[2], path[-1] if path else "Exception", match[3], int(match[4] or 1)))
            path.append(match[2])
    return rows


def test_there_is_an_example_of_every_error_here():
    assert {by_class(error) for error in EXAMPLES} == set(CLASSES)


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    expected = []
    for cls in CLASSES.values():
        base, *also = cls.__bases__
        expected.append((cls.__name__, base.__name__, also[0].__name__ if also else None, cls.exit_code))
    assert sorted(drawn_tree(), key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("error", EXAMPLES, ids=by_class)
def test_an_error_pickles_and_copies_and_keeps_its_fields(error):
    assert fields(error)
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(back) is type(error)
        assert fields(back) == fields(error)
        assert str(back) == str(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=by_class)
def test_the_fields_are_the_positional_arguments(error):
    assert error.args == tuple(fields(error).values())
    assert list(fields(error)) == list(inspect.signature(type(error)).parameters)


@pytest.mark.parametrize("error", EXAMPLES, ids=by_class)
def test_the_sentence_is_one_line(error):
    assert str(error)
    assert str(error) == " ".join(str(error).split())


@pytest.mark.parametrize("error", EXAMPLES, ids=by_class)
def test_the_sentence_shows_every_short_field(error):
    for name, value in fields(error).items():
        if name == "causes":
            assert value[-1] in str(error)
        elif name == "stderr":
            assert "ImportError: no numpy" in str(error)
        elif name == "seconds":
            assert "5 s" in str(error)
        else:
            assert str(value) in str(error)


def test_what_a_caller_did_wrong_is_a_value_error_and_nothing_else_is():
    for cls in CLASSES.values():
        assert issubclass(cls, ValueError) == issubclass(cls, errors.UsageError)


def test_a_chunk_error_without_a_cause_still_says_something():
    assert "no cause known" in str(errors.ChunkError(0, 0, 1, ()))


@pytest.mark.parametrize("stderr", ["", "\n", " \n \n"])
def test_workers_that_died_in_silence_are_named_by_their_cause(stderr):
    assert str(errors.WorkersDiedError("it exited with code 3", stderr)).endswith("ready: it exited with code 3")
