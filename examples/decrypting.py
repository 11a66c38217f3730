"""Getting the audio back out of a result, unless it was tampered with. Run it with `python decrypting.py`."""

import tempfile
from pathlib import Path

from zaudio import Coordinator, VerificationError, decrypt, generate, verify

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    generate(folder / "take.raw", seconds=2)
    Coordinator(folder / "take.raw", folder / "out", ops="invert").run()

    # The description says how to read the bytes. `verify` reads everything and writes nothing.
    description = verify(folder / "out")
    print(f"{description.frames} frames of {description.format} at {description.samplerate} Hz, ops {description.ops}")

    # As stored, the last frame comes first. Stock openssl gives the same bytes:
    #   openssl enc -d -aes-256-cbc -K KEY -iv IV -in out/result.raw      (KEY and IV in hexadecimal digits)
    decrypt(folder / "out", folder / "reversed.raw")

    # In the order of the recording. Every sample was inverted, so the sign bits differ and nothing else does.
    decrypt(folder / "out", folder / "forward.raw", forward=True)
    before, after = (folder / "take.raw").read_bytes(), (folder / "forward.raw").read_bytes()
    assert bytes(byte ^ 0x80 * (place % 4 == 3) for place, byte in enumerate(before)) == after

    # A single flipped bit anywhere, and not one sample comes out.
    ciphertext = bytearray((folder / "out" / "result.raw").read_bytes())
    ciphertext[12345] ^= 1
    (folder / "out" / "result.raw").write_bytes(ciphertext)
    try:
        decrypt(folder / "out", folder / "damaged.raw")
    except VerificationError as error:
        print("refused, as it should be:", error.reason)
