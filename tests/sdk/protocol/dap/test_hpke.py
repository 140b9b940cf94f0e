"""HPKE base mode: RFC 9180, another implementation, and every way to open wrongly."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhpke import AEADId, CipherSuite, KDFId, KEMId

from tactful.errors import OpenError
from tactful.protocol.dap import hpke

# RFC 9180, appendix A.1.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode
INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
EPHEMERAL = bytes.fromhex(
    "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736"
)
ENC = bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
READER = bytes.fromhex(
    "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"
)
READER_PUBLIC = bytes.fromhex(
    "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d"
)
SHARED_SECRET = bytes.fromhex(
    "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc"
)
KEY = bytes.fromhex("4531685d41d65f03dc48f6b8302c05b0")
BASE_NONCE = bytes.fromhex("56d890e5accaaf011cff4b7d")
AAD = bytes.fromhex("436f756e742d30")
PLAINTEXT = bytes.fromhex("4265617574792069732074727574682c20747275746820626561757479")
CIPHERTEXT = bytes.fromhex(
    "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
)

SUITE = CipherSuite.new(
    KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES128_GCM
)
messages = st.binary(max_size=200)


@pytest.fixture
def reader() -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(READER)


def public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def test_the_key_schedule_is_the_rfcs(reader: X25519PrivateKey) -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    exchanged = reader.exchange(X25519PublicKey.from_public_bytes(ENC))
    secret = hpke._shared_secret(exchanged, ENC, READER_PUBLIC)

    assert secret == SHARED_SECRET
    assert hpke._key_schedule(secret, INFO) == (KEY, BASE_NONCE)


def test_the_first_encryption_is_the_rfcs() -> None:
    sealed = hpke.seal(READER_PUBLIC, INFO, AAD, PLAINTEXT, ephemeral=EPHEMERAL)

    assert sealed == (ENC, CIPHERTEXT)


def test_the_rfcs_first_encryption_opens(reader: X25519PrivateKey) -> None:
    assert public(reader) == READER_PUBLIC
    assert hpke.open_(reader, ENC, INFO, AAD, CIPHERTEXT) == PLAINTEXT


@given(info=messages, aad=messages, plaintext=messages)
@settings(max_examples=30)
def test_another_implementation_opens_what_we_seal(
    info: bytes, aad: bytes, plaintext: bytes
) -> None:
    enc, ciphertext = hpke.seal(READER_PUBLIC, info, aad, plaintext)
    theirs = SUITE.kem.deserialize_private_key(READER)

    context = SUITE.create_recipient_context(enc, theirs, info=info)

    assert context.open(ciphertext, aad=aad) == plaintext


@given(info=messages, aad=messages, plaintext=messages)
@settings(max_examples=30)
def test_we_open_what_another_implementation_seals(
    info: bytes, aad: bytes, plaintext: bytes
) -> None:
    theirs = SUITE.kem.deserialize_public_key(READER_PUBLIC)
    enc, context = SUITE.create_sender_context(theirs, info=info)
    ciphertext = context.seal(plaintext, aad=aad)
    reader = X25519PrivateKey.from_private_bytes(READER)

    assert hpke.open_(reader, enc, info, aad, ciphertext) == plaintext


def test_each_seal_has_its_own_key() -> None:
    ones, others = (hpke.seal(READER_PUBLIC, b"", b"", b"same") for _ in range(2))

    assert ones[0] != others[0]
    assert ones[1] != others[1]


@pytest.mark.parametrize("crime", ["info", "aad", "enc", "ciphertext", "cut", "empty"])
def test_whatever_is_changed_nothing_opens(
    crime: str, reader: X25519PrivateKey
) -> None:
    sealed = {"enc": ENC, "info": INFO, "aad": AAD, "ciphertext": CIPHERTEXT}
    if crime == "cut":
        sealed["ciphertext"] = CIPHERTEXT[:-1]
    elif crime == "empty":
        sealed["ciphertext"] = b""
    else:
        sealed[crime] = bytes([sealed[crime][0] ^ 1]) + sealed[crime][1:]

    with pytest.raises(OpenError):
        hpke.open_(
            reader, sealed["enc"], sealed["info"], sealed["aad"], sealed["ciphertext"]
        )


def test_another_key_opens_nothing() -> None:
    with pytest.raises(OpenError):
        hpke.open_(X25519PrivateKey.generate(), ENC, INFO, AAD, CIPHERTEXT)


@pytest.mark.parametrize("enc", [b"", bytes(31), bytes(33), bytes(32)])
def test_a_sender_key_of_another_size_or_low_order_opens_nothing(
    enc: bytes, reader: X25519PrivateKey
) -> None:
    with pytest.raises(OpenError):
        hpke.open_(reader, enc, INFO, AAD, CIPHERTEXT)
