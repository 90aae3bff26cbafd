"""Cryptography: signatures, deterministic nonces, addresses."""

from __future__ import annotations

from consensus_lab.nakamoto import address, keys
from consensus_lab.nakamoto.encoding import sha256
from consensus_lab.node import ProtocolViolation
from tests.conformance.bitcoin.corpus import Corpus, CorpusFile, Judge
from tests.conformance.bitcoin.tally import Tally, expect

FORMATS = (address.MAINNET_FORMAT, address.TESTNET_FORMAT, address.REGTEST_FORMAT)


def _judge_signatures(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """ECDSA vectors in the strict form of today: SHA-256 once, strict DER, low s."""
    vectors = file.content["vectors"] if isinstance(file.content, dict) else file.content
    for vector in vectors:
        name = f"{file.name}, {vector.get('tcId')} {vector.get('comment', '')}"
        with tally.case("ECDSA signatures", name):
            key = bytes.fromhex(vector.get("pubkey_uncompressed") or vector["pubkey_hex"])
            ours = keys.verify_der(
                key, bytes.fromhex(vector["der_sig_hex"]), bytes.fromhex(vector["msg_hex"])
            )
            expect("valid" if ours else "invalid", vector["result"], "verdict")


def _judge_deterministic(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """RFC 6979: the nonce and the whole signature."""
    for vector in file.content["vectors"]:
        with tally.case("RFC 6979", f"{file.name}, {vector.get('message_utf8')!r}"):
            private_key = bytes.fromhex(vector["private_key_hex"])
            message = vector["message_utf8"].encode()
            digest = sha256(message)
            nonce = keys.deterministic_nonce(private_key, digest)
            expect(f"{nonce:064x}", vector["nonce_hex"], "nonce")
            signature = keys.sign(private_key, digest)
            expect(signature.hex(), vector["der_sig_hex"], "signature")
            public_key = keys.public_key(private_key)
            if vector.get("pubkey_compressed_hex"):
                expect(public_key.hex(), vector["pubkey_compressed_hex"], "public key")
            assert keys.verify_der(public_key, signature, message), "it does not verify"


def _judge_schnorr(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """BIP 340: verification, and signing where a secret key is given."""
    for row in file.content:
        with tally.case("BIP 340 signatures", f"{file.name}, {row.get('index')}"):
            message, signature = bytes.fromhex(row["message"]), bytes.fromhex(row["signature"])
            ours = keys.verify_schnorr(bytes.fromhex(row["public key"]), signature, message)
            expect(str(ours).upper(), row["verification result"], "verdict")
            # The library signs 32-byte messages only, which is all that Bitcoin does.
            if row.get("secret key") and len(message) == 32:
                made = keys.sign_schnorr(
                    bytes.fromhex(row["secret key"]),
                    message,
                    auxiliary=bytes.fromhex(row["aux_rand"]),
                )
                expect(made.hex(), signature.hex(), "signature")


def _judge_segwit(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Witness addresses, right and wrong ones, of mainnet and testnet."""
    for text, script_hex in file.content["valid_address_to_script_pubkey"]:
        with tally.case("segwit addresses", f"{file.name}, {text}"):
            form = next(f for f in FORMATS if text.lower().startswith(f.witness_prefix + "1"))
            script = address.address_to_script(text, form)
            expect(script.hex(), script_hex, "script")
            expect(address.script_to_address(script, form), text.lower(), "address")
    for item in file.content.get("invalid", ()):
        text = item[0] if isinstance(item, list) else item
        with tally.case("segwit addresses", f"{file.name}, invalid {text}"):
            for form in FORMATS:
                try:
                    script = address.address_to_script(text, form)
                except ProtocolViolation:
                    continue
                raise AssertionError(f"accepted as {script.hex()}")


def _judge_base58(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Base 58 both ways, and addresses of real outputs."""
    for data_hex, text in file.content.get("base58", ()):
        with tally.case("Base58", f"{file.name}, {text!r}"):
            expect(address.base58_encode(bytes.fromhex(data_hex)), text, "text")
            expect(address.base58_decode(text).hex(), data_hex, "bytes")
    for text, script_hex in file.content.get("address_to_script_pubkey", ()):
        with tally.case("Base58Check addresses", f"{file.name}, {text}"):
            script = bytes.fromhex(script_hex)
            # The first letter of an address tells its network.
            form = FORMATS[0] if text[0] in "13" else FORMATS[1]
            expect(address.address_to_script(text, form).hex(), script_hex, "script")
            expect(address.script_to_address(script, form), text, "address")
            # One letter changed must not be an address: the checksum is there for that.
            wrong = text[:-1] + ("2" if text[-1] != "2" else "3")
            try:
                address.address_to_script(wrong, form)
            except ProtocolViolation:
                continue
            raise AssertionError(f"{wrong} is accepted")


JUDGES: dict[str, tuple[Judge, ...]] = {
    "signatures": (_judge_signatures,),
    "deterministic signatures": (_judge_deterministic,),
    "schnorr": (_judge_schnorr,),
    "segwit addresses": (_judge_segwit,),
    "base58 addresses": (_judge_base58,),
}
