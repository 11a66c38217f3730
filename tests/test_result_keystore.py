"""Keys wrapped for a recipient: the format, who can open it, what is said when one cannot, and identities."""

import hashlib
import hmac
import os
import stat
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from extended import extended
from result_support import NAMES, VECTORS, contents, describe, pattern, reverse, write_result

from zaudio.errors import UsageError, VerificationError
from zaudio.result import RawKey, WrappedKey, decrypt, make_identity, parse_recipient, primitives, read_identity, verify
from zaudio.result.keystore import MAGIC, WRAPPED_BYTES, Identity, Recipient, is_wrapped

VECTOR = VECTORS / "wrapped"
KEY = bytearray(range(32))


@pytest.fixture
def identity(tmp_path):
    """The path of a fresh identity."""
    path = tmp_path / "me.identity"
    make_identity(path)
    return str(path)


@pytest.fixture
def wrapped(tmp_path, identity):
    """The path of a result whose key is wrapped for it."""
    write_result(tmp_path / "out", pattern(20, 4), describe(20), key_store=WrappedKey(recipient(identity), None))
    return str(tmp_path / "out")


def recipient(identity):
    return read_identity(identity).recipient


# The format


def rfc_9180_open(secret, sealed, info):
    """Single-shot opening in base mode, written out from RFC 9180 with the standard library's HMAC."""

    def labeled_extract(suite, salt, label, ikm):
        return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, "sha256")

    def labeled_expand(suite, prk, label, info, length):
        seed = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
        return hmac.digest(prk, seed + b"\x01", "sha256")[:length]

    kem = b"KEM" + struct.pack(">H", 0x0020)
    suite = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0003)
    private = X25519PrivateKey.from_private_bytes(secret)
    enc, ciphertext = sealed[:32], sealed[32:]
    dh = private.exchange(X25519PublicKey.from_public_bytes(enc))
    context = enc + private.public_key().public_bytes_raw()
    shared = labeled_expand(kem, labeled_extract(kem, b"", b"eae_prk", dh), b"shared_secret", context, 32)
    schedule = (
        b"\x00" + labeled_extract(suite, b"", b"psk_id_hash", b"") + labeled_extract(suite, b"", b"info_hash", info)
    )
    secret = labeled_extract(suite, shared, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", schedule, 32)
    nonce = labeled_expand(suite, secret, b"base_nonce", schedule, 12)
    return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, b"")


def vector_identity():
    text = (VECTOR / "identity.txt").read_text().splitlines()[-1]
    return bytes.fromhex(text.removeprefix("zaudio-identity-")[:64])


def test_the_committed_vector_decrypts_to_what_it_should(tmp_path):
    for name in NAMES:
        (tmp_path / name).write_bytes((VECTOR / name).read_bytes())
    identity = VECTOR / "identity.txt"
    decrypt(tmp_path, tmp_path / "reversed", identity=identity)
    decrypt(tmp_path, tmp_path / "forward", identity=identity, forward=True)
    assert (tmp_path / "reversed").read_bytes() == (VECTOR / "expected_reversed.raw").read_bytes()
    assert (tmp_path / "forward").read_bytes() == (VECTOR / "expected_forward.raw").read_bytes()


def test_the_vectors_key_opens_as_rfc_9180_says_and_our_document():
    content = (VECTOR / "encryption_key.bin").read_bytes()
    assert len(content) == 133
    header, sealed = content[:53], content[53:]
    secret = vector_identity()
    public = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    assert header == b"zaudio wrapped key 1\n" + public
    assert rfc_9180_open(secret, sealed, header) == bytes(range(100, 132))


def test_what_is_wrapped_now_opens_as_rfc_9180_says():
    identity = Identity(bytes(range(1, 33)))
    content = identity.recipient.wrap(KEY)
    assert rfc_9180_open(bytes(range(1, 33)), content[53:], content[:53]) == KEY


def test_the_public_key_as_text_has_a_check_sum_as_documented():
    text = (VECTOR / "recipient.txt").read_text().strip()
    public = X25519PrivateKey.from_private_bytes(vector_identity()).public_key().public_bytes_raw()
    check = hashlib.sha256(b"zaudio-x25519-" + public).digest()[:4]
    assert text == "zaudio-x25519-" + public.hex() + check.hex()


def test_a_raw_key_is_never_taken_for_a_wrapped_one_nor_the_other_way():
    wrapped = Recipient(primitives.x25519_public(bytes(range(32)))).wrap(KEY)
    assert is_wrapped(wrapped)
    assert len(wrapped) == WRAPPED_BYTES
    assert not is_wrapped(KEY)
    assert not is_wrapped(MAGIC + bytes(32 - len(MAGIC)))
    assert not is_wrapped(wrapped[:-1])
    assert not is_wrapped(wrapped + b"\0")


def test_the_key_is_wrapped_anew_each_time(identity):
    assert recipient(identity).wrap(KEY) != recipient(identity).wrap(KEY)


def test_the_key_itself_is_not_in_the_file_which_is_private_all_the_same(wrapped, identity):
    assert bytes(KEY) not in recipient(identity).wrap(KEY)
    path = Path(wrapped) / "encryption_key.bin"
    assert path.stat().st_size == 133
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# Who can open it


def test_the_recipient_verifies_and_decrypts(wrapped, identity, tmp_path):
    assert verify(wrapped, identity=identity).frames == 20
    decrypt(wrapped, tmp_path / "audio", identity=identity)
    assert (tmp_path / "audio").read_bytes() == reverse(pattern(20, 4), 4)


def test_the_identity_is_never_replaced_by_what_it_decrypts(wrapped, identity):
    before = Path(identity).read_bytes()
    with pytest.raises(UsageError, match="is the identity, which other results may need; choose another output"):
        decrypt(wrapped, identity, identity=identity, overwrite=True)
    assert Path(identity).read_bytes() == before


@pytest.mark.parametrize("command", [verify, lambda path: decrypt(path, None), lambda path: decrypt(path, "-")])
def test_without_an_identity_one_line_says_that_one_is_needed_and_whose(command, wrapped, identity, capfdbinary):
    before = contents(wrapped)
    with pytest.raises(UsageError) as caught:
        command(wrapped)
    assert str(caught.value) == (
        f"{wrapped}/encryption_key.bin: the key is wrapped for {recipient(identity)}; "
        "give that one's private key with --identity FILE, or that of an input with --input-identity FILE"
    )
    assert contents(wrapped) == before
    assert capfdbinary.readouterr().out == b""


def test_the_identity_of_another_does_not_open_it(wrapped, identity, tmp_path):
    other = tmp_path / "other"
    make_identity(other)
    with pytest.raises(VerificationError) as caught:
        verify(wrapped, identity=other)
    assert str(recipient(identity)) in str(caught.value)
    assert str(recipient(other)) in str(caught.value)


@pytest.mark.covers(
    "Every bit of a wrapped key flipped: verify fails",
    note="a bit of each byte; all: `make test-all`",
    bound="every one of 1,064",
    measured="all found",
    removed="not seen to fail: two guards find each of them (public key or magic, and HPKE's `info`)",
)
@pytest.mark.parametrize("step", [7, extended(1)])
def test_any_changed_bit_of_a_wrapped_key_is_found(wrapped, identity, step):
    path = Path(wrapped) / "encryption_key.bin"
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), step):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(VerificationError):
            verify(wrapped, identity=identity)
    path.write_bytes(content)
    verify(wrapped, identity=identity)


@pytest.mark.parametrize("size", [0, 31, 33, 132, 134, 1000])
def test_a_key_file_of_another_length_is_neither(wrapped, identity, size):
    path = Path(wrapped) / "encryption_key.bin"
    path.write_bytes((path.read_bytes() * 8)[:size])
    with pytest.raises(VerificationError, match=f"32 bytes expected, {size} found"):
        verify(wrapped, identity=identity)


def test_a_wrapped_key_of_another_result_does_not_pass(wrapped, identity, tmp_path):
    other = tmp_path / "other"
    write_result(other, pattern(20, 4), describe(20), key_store=WrappedKey(recipient(identity), None))
    (Path(wrapped) / "encryption_key.bin").write_bytes((other / "encryption_key.bin").read_bytes())
    with pytest.raises(VerificationError, match="the tag does not agree"):
        verify(wrapped, identity=identity)


def test_an_identity_is_of_no_use_and_no_harm_to_a_raw_key(tmp_path, identity):
    write_result(tmp_path / "out", pattern(20, 4), describe(20))
    verify(tmp_path / "out", identity=identity)


# The store, which a resumed job gets its key from


def test_a_wrapped_key_comes_back_as_it_was(identity):
    store = WrappedKey(recipient(identity), read_identity(identity))
    content = store.encode(KEY)
    assert len(content) <= store.content_max
    key = store.decode(bytearray(content), "k.bin")
    assert key == KEY
    assert isinstance(key, bytearray), "its owner wipes it"


@pytest.mark.covers(
    "A job for a recipient, killed: no raw key on the disk; refused without the identity, resumed with it"
)
def test_a_job_cannot_go_on_without_the_identity(identity):
    store = WrappedKey(recipient(identity), None)
    sentence = r"^k\.bin: the key is wrapped for zaudio-x25519-.* --identity FILE, or pass --fresh to start over$"
    with pytest.raises(UsageError, match=sentence):
        store.decode(bytearray(store.encode(KEY)), "k.bin")


def test_a_job_cannot_go_on_for_another_recipient_or_with_anothers_identity(identity, tmp_path):
    make_identity(tmp_path / "other")
    other = read_identity(tmp_path / "other")
    content = bytearray(WrappedKey(other.recipient, None).encode(KEY))
    with pytest.raises(UsageError, match=f"^k.bin: this job was begun with --recipient {other.recipient}; "):
        WrappedKey(recipient(identity), read_identity(identity)).decode(content, "k.bin")
    with pytest.raises(UsageError, match=f"^k.bin: the key is wrapped for {other.recipient}, and --identity is that"):
        WrappedKey(other.recipient, read_identity(identity)).decode(content, "k.bin")


def test_a_job_that_was_begun_with_a_raw_key_does_not_go_on_with_a_recipient_nor_the_other_way(identity):
    store = WrappedKey(recipient(identity), read_identity(identity))
    with pytest.raises(UsageError, match=r"^k\.bin: this job was begun without --recipient; .* --fresh to start over$"):
        store.decode(bytearray(KEY), "k.bin")
    content = bytearray(store.encode(KEY))
    assert len(content) <= RawKey().content_max, "or it would be cut before it is looked at"
    with pytest.raises(UsageError, match=f"^k.bin: this job was begun with --recipient {recipient(identity)}; "):
        RawKey().decode(content, "k.bin")


def test_damage_of_a_wrapped_key_is_told_from_a_missing_identity(identity):
    store = WrappedKey(recipient(identity), read_identity(identity))
    content = bytearray(store.encode(KEY))
    content[-1] ^= 1
    with pytest.raises(ValueError, match="the wrapped key does not open") as caught:
        store.decode(content, "k.bin")
    assert not isinstance(caught.value, UsageError)
    with pytest.raises(ValueError, match="133 bytes of a wrapped key expected, 132 found"):
        store.decode(content[:-1], "k.bin")


# Identities and public keys


def test_an_identity_is_private_whatever_the_umask(tmp_path):
    for umask in (0o000, 0o022, 0o777):
        path = tmp_path / f"{umask:o}"
        before = os.umask(umask)
        try:
            make_identity(path)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("make", ["file", "link", "folder"])
def test_an_identity_is_never_overwritten(tmp_path, make):
    path = tmp_path / "me"
    if make == "file":
        path.write_text("precious")
    elif make == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="exists already, and an identity is never overwritten"):
        make_identity(path)
    assert sorted(tmp_path.iterdir()) == before
    assert make != "file" or path.read_text() == "precious"


def test_an_identity_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(UsageError, match="the identity cannot be written there: No such file"):
        make_identity(tmp_path / "nowhere" / "me")
    assert list(tmp_path.iterdir()) == []


def test_two_identities_differ(tmp_path):
    assert str(make_identity(tmp_path / "a")) != str(make_identity(tmp_path / "b"))


def test_a_recipient_is_named_by_text_or_by_a_file_that_holds_it(tmp_path, identity):
    text = str(recipient(identity))
    path = tmp_path / "pub"
    path.write_text(f"# mine\n\n{text}\n")
    assert str(parse_recipient(text)) == str(parse_recipient(f" {text}\n")) == str(parse_recipient(str(path))) == text


def test_a_typing_mistake_in_a_public_key_is_found(identity):
    text = str(recipient(identity))
    for place in range(len("zaudio-x25519-"), len(text)):
        wrong = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
        with pytest.raises(UsageError, match="there is a typing mistake in it"):
            parse_recipient(wrong)


@pytest.mark.parametrize("content", ["", "\n", "hello\n", "two\nlines\n", "zaudio-x25519-00\n", "x" * 5000, "\xff"])
def test_a_file_without_a_public_key_is_refused(tmp_path, content):
    path = tmp_path / "pub"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match="does not hold a public key and nothing else"):
        parse_recipient(str(path))


@pytest.mark.parametrize("name", ["nowhere", "", ".", "a\0b"])
def test_what_is_neither_text_nor_file_is_refused(name):
    with pytest.raises(UsageError, match="is not a public key, and as a file it cannot be read"):
        parse_recipient(name)


def test_an_identity_in_the_place_of_a_public_key_is_refused_and_not_shown(tmp_path, identity):
    secret = Path(identity).read_text().splitlines()[-1]
    for given in (identity, secret):
        with pytest.raises(UsageError, match="is an identity, which is secret") as caught:
            parse_recipient(given)
        assert secret[20:] not in str(caught.value)
    with pytest.raises(UsageError) as caught:
        parse_recipient(secret[:-1] + ("0" if secret[-1] != "0" else "1"))
    assert secret[20:60] not in str(caught.value)


def test_a_public_key_in_the_place_of_an_identity_is_refused(tmp_path, identity):
    path = tmp_path / "pub"
    path.write_text(str(recipient(identity)))
    with pytest.raises(UsageError, match="holds a public key; the identity is the file that"):
        read_identity(path)


def test_a_point_that_gives_everybody_the_same_secret_is_refused():
    text = "zaudio-x25519-" + bytes(32).hex() + hashlib.sha256(b"zaudio-x25519-" + bytes(32)).digest()[:4].hex()
    with pytest.raises(UsageError, match="nothing can be encrypted for that public key"):
        parse_recipient(text)


def test_no_sentence_and_no_representation_shows_a_private_key(wrapped, identity):
    secret = Path(identity).read_text().splitlines()[-1].removeprefix("zaudio-identity-")
    who = read_identity(identity)
    assert secret[:64] not in f"{who!r} {who} {vars(who).keys()} {who.recipient}"


# Raw keys


def test_raw_key_comes_back_as_it_was():
    key = bytearray(range(32))
    assert RawKey().decode(bytearray(RawKey().encode(key)), "k.bin") == key


def test_raw_key_that_was_got_back_can_be_wiped_by_itself():
    content = bytearray(range(32))
    key = RawKey().decode(content, "k.bin")
    key[:] = bytes(32)
    assert content == bytearray(range(32))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_raw_key_of_another_length_is_refused_by_name(size):
    with pytest.raises(ValueError, match=f"^out/k.bin: 32 bytes of key expected, {size} found$"):
        RawKey().decode(bytearray(size), "out/k.bin")
