#!/usr/bin/python3
"""A PKCS#15 card on Debian's `virtualsmartcard` card OS, attached to a reader of vpcd.

The card OS, its file system, SELECT, READ BINARY and VERIFY come from the Debian package. Here is only what it lacks:
 * repairs, without which it ends on Python 3,
 * the files of PKCS#15, made from the directory --content (below),
 * a PIN with a visible retry counter, and signatures with a key held by this process,
 * faults: profiles of files, and events after so many commands.

What --content holds:
  key.p8            the private key (PKCS#8, DER), RSA or EC
  own.der           its certificate; other names own-*.der are further ones
  trusted-*.der     certificates of the issuer
  useful-*.der      certificates that complete chains
  bootstrap         data of OMA DM (2.23.43.7.1)
  secret            data of OMA DM too (2.23.43.5.1), readable with the PIN only

"""
import argparse, logging, os, socket, sys, time

for place in ("/usr/lib/python3/site-packages", "/usr/lib/python3/dist-packages"):
    # Debian installs it outside of sys.path, and its modules import each other by both names.
    sys.path += [place, place + "/virtualsmartcard"]
import Cryptodome

# Debian's pycryptodome has this name only.
sys.modules.setdefault("Crypto", Cryptodome)

from virtualsmartcard import TLVutils
from virtualsmartcard.SWutils import SW, SwError
from virtualsmartcard.VirtualSmartcard import Iso7816OS, VirtualICC
from virtualsmartcard.SmartcardFilesystem import DF, MF, Record, RecordStructureEF, TransparentStructureEF
from virtualsmartcard.SmartcardSAM import SAM
from virtualsmartcard.ConstantDefinitions import FDB
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

AID = bytes.fromhex("A000000063504B43532D3135")
DM_BOOTSTRAP = "2.23.43.7.1"
WAP_BOOTSTRAP = "2.23.43.5.1"


# --- repairs of the package ----------------------------------------------------------------------


def length_of(n):
    if n < 0x80:
        return bytes([n])
    digits = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(digits)]) + digits


def pack(tlv_data, recalculate_length=False):
    """TLVutils.pack joins integers on Python 3."""
    out = b""
    for tag, length, value, *_ in tlv_data:
        if not isinstance(value, bytes):
            value = pack(value, recalculate_length)
        n = len(value) if recalculate_length else length
        out += tag.to_bytes((tag.bit_length() + 7) // 8 or 1, "big") + length_of(n) + value
    return out


TLVutils.pack = pack
original_format = Iso7816OS.formatResult


def format_result(self, seekable, le, data, sw, sm):
    """It compares None with a number, and takes Le 00 for 256 bytes instead of all there are."""
    data = data or b""
    if le is None:
        le = 0 if seekable else 256
    if seekable and sw == SW["NORMAL"] and le == 256 and len(data) < 256:
        le = len(data)
    return original_format(self, seekable, le, data, sw, sm)


Iso7816OS.formatResult = format_result


class Status(SwError):
    """Any status word; the package knows some by name only."""

    def __init__(self, sw):
        self.sw, self.message = sw, "%04x" % sw


# --- DER ------------------------------------------------------------------------------------------


def tlv(tag, *parts):
    value = b"".join(parts)
    return tag.to_bytes((tag.bit_length() + 7) // 8, "big") + length_of(len(value)) + value


def seq(*parts):
    return tlv(0x30, *parts)


def octets(value):
    return tlv(4, value)


def utf8(text):
    return tlv(0x0C, text.encode())


def integer(n):
    return tlv(2, n.to_bytes(n.bit_length() // 8 + 1, "big"))


def bits(*set_bits):
    if not set_bits:
        return tlv(3, b"\0")
    out = bytearray(max(set_bits) // 8 + 1)
    for bit in set_bits:
        out[bit // 8] |= 0x80 >> (bit % 8)
    return tlv(3, bytes([len(out) * 8 - 1 - max(set_bits)]), bytes(out))


def oid(dotted):
    arcs = [int(arc) for arc in dotted.split(".")]
    out = b""
    for arc in [arcs[0] * 40 + arcs[1]] + arcs[2:]:
        digits = [arc & 0x7F]
        while arc > 0x7F:
            arc >>= 7
            digits.append(0x80 | arc & 0x7F)
        out += bytes(reversed(digits))
    return tlv(6, out)


def path(hexadecimal, *more):
    return seq(octets(bytes.fromhex(hexadecimal)), *more)


# --- the card ---------------------------------------------------------------------------------------


class Sam(SAM):
    """A PIN that is counted, and one key that signs."""

    def __init__(self, pin, key, tries, left, silent):
        SAM.__init__(self, pin.encode(), b"1234567890")
        self.key, self.tries, self.left, self.silent = key, tries, left, silent
        self.is_verified = False

    def verify(self, p1, p2, data):
        if p1 or p2 & 0x1F != 1:
            raise SwError(SW["ERR_INCORRECTP1P2"])
        if not data and self.silent:
            raise Status(0x6A80)
        if self.left == 0:
            raise SwError(SW["ERR_AUTHBLOCKED"])
        if not data:
            if self.is_verified:
                return SW["NORMAL"], b""
            raise Status(0x63C0 | self.left)
        if data.rstrip(b"\0\xff") == self.PIN:
            self.left, self.is_verified = self.tries, True
            return SW["NORMAL"], b""
        self.left -= 1
        self.is_verified = False
        raise Status(0x63C0 | self.left) if self.left else SwError(SW["ERR_AUTHBLOCKED"])

    def manage_security_environment(self, p1, p2, data):
        return SW["NORMAL"], b""

    def perform_security_operation(self, p1, p2, data):
        if (p1, p2) != (0x9E, 0x9A):
            raise SwError(SW["ERR_INCORRECTP1P2"])
        if not self.is_verified:
            raise SwError(SW["ERR_SECSTATUS"])
        key = self.key
        size = (key.key_size + 7) // 8
        if isinstance(key, ec.EllipticCurvePrivateKey):
            hashed = {32: hashes.SHA256(), 48: hashes.SHA384()}[len(data)]
            r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(utils.Prehashed(hashed))))
            return SW["NORMAL"], r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if len(data) < size:
            # The card pads PKCS#1 itself: this is a DigestInfo.
            data = b"\0\1" + b"\xff" * (size - 3 - len(data)) + b"\0" + data
        numbers = key.private_numbers()
        signature = pow(int.from_bytes(data, "big"), numbers.d, numbers.public_numbers.n)
        return SW["NORMAL"], signature.to_bytes(size, "big")


class Guarded(TransparentStructureEF):
    """A file that wants the PIN; the package has no access conditions."""

    sam = None

    def readbinary(self, offset):
        if not self.sam.is_verified:
            raise SwError(SW["ERR_SECSTATUS"])
        return TransparentStructureEF.readbinary(self, offset)


def certificate(label, identifier, file, authority=False, **value):
    common = seq(utf8(label), bits())
    own = seq(octets(bytes([identifier])), *([tlv(1, b"\xff")] if authority else []))
    if "direct" in value:
        return seq(common, own, tlv(0xA1, seq(tlv(0xA0, value["direct"]))))
    return seq(common, own, tlv(0xA1, seq(path(file, *value.get("part", ())))))


def build(options, content, key, sam):
    """The master file with everything below it."""
    profile = options.profile
    relative = profile == "relative"
    base = "" if relative else "3F005015"
    mf = MF(filedescriptor=FDB["DF"])
    app = DF(parent=mf, fid=0x5015, filedescriptor=FDB["DF"], dfname=b"\xA0no" if profile == "path-only" else AID)
    record = tlv(0x61, tlv(0x4F, AID), tlv(0x50, b"Bailiwick"), tlv(0x51, bytes.fromhex("3F005015")))
    if profile != "no-application":
        structure = FDB["EFSTRUCTURE_LINEAR_FIXED_NOFURTHERINFO"]
        mf.append(RecordStructureEF(parent=mf, fid=0x2F00, filedescriptor=structure, maxrecordsize=len(record),
                                    records=[Record(data=record)], shortfid=0x1E))
        mf.append(app)

    files = {}
    counter = iter(range(0x4331, 0x4400))

    def store(data):
        file = next(counter)
        files[file] = data
        return base + "%04X" % file

    own, trusted, useful = b"", b"", b""
    anchor = iter(range(1, 0x40))
    objects = b""
    for name in sorted(content):
        data = content[name]
        if name == "own.der":
            if profile == "direct":
                own += certificate("DM client", 0x45, None, direct=data)
            elif profile == "part":
                # The certificate is in the middle of a file.
                whole = store(b"\x04\x02no" + data + b"rest")
                own += certificate("DM client", 0x45, whole, part=(integer(4), tlv(0x80, length_bytes(len(data)))))
            else:
                if profile == "oversize":
                    data = tlv(0x30, b"\0" * 40000)
                if profile == "not-a-certificate":
                    data = b"\x04\x03no!" + b"\0" * 20
                own += certificate("DM client", 0x45, store(data))
        elif name.startswith("own-"):
            own += certificate(name[4:-4], 0x46, store(data), authority="authority" in name)
        elif name.startswith("trusted-"):
            trusted += certificate(name[8:-4], next(anchor), store(data), authority=True)
        elif name.startswith("useful-"):
            useful += certificate(name[7:-4], 0x81, store(data))
        elif name == "bootstrap":
            file = store(data)
            opaque = seq(seq(utf8("OMA DM bootstrap"), bits()), seq(utf8("OMA DM"), oid(DM_BOOTSTRAP)), tlv(0xA1, path(file)))
            # The form that SIM makers use. OpenSC stops at it, so it is the last.
            doubled = tlv(6, oid(DM_BOOTSTRAP)) if profile == "doubled" else oid(DM_BOOTSTRAP)
            by_oid = tlv(0xA1, seq(), seq(utf8("OMA DM Bootstrap")), tlv(0xA1, seq(doubled, path(file))))
            objects += by_oid if profile == "doubled" else opaque + by_oid
        elif name == "secret":
            file = next(counter)
            guarded = Guarded(parent=app, fid=file, data=data)
            guarded.sam = sam
            app.append(guarded)
            secret = seq(seq(utf8("Secret"), bits(0), octets(b"\x01")), seq(utf8("OMA"), oid(WAP_BOOTSTRAP)),
                         tlv(0xA1, path(base + "%04X" % file)))
            objects = secret + objects

    is_rsa = not isinstance(key, ec.EllipticCurvePrivateKey)
    auth = [] if profile == "no-pin" else [octets(b"\x01")]
    attributes = seq(octets(b"\x45"), bits(2), bits(0, 2, 3, 4), integer(1))
    wrap = seq if is_rsa else (lambda *parts: tlv(0xA0, *parts))
    private_keys = wrap(seq(utf8("DM client key"), bits(0), *auth), attributes,
                        tlv(0xA1, seq(path(base + "4B01"), integer(key.key_size))))
    pins = seq(seq(utf8("User PIN"), bits(0, 1)), seq(octets(b"\x01")),
               tlv(0xA1, seq(bits(1, 4, 5), tlv(0x0A, b"\1"), integer(4), integer(8), integer(8), tlv(0x80, b"\x81"),
                             octets(b"\0"), path("3F005015"))))
    directories = [(0xA0, 0x4401, private_keys), (0xA4, 0x4404, own), (0xA5, 0x4405, trusted), (0xA6, 0x4406, useful),
                   (0xA7, 0x4407, objects), (0xA8, 0x4408, pins)]
    odf = b"".join(tlv(tag, path(base + "%04X" % file)) for tag, file, _ in directories)
    if profile == "truncated":
        odf = odf[:-3]
    elif profile == "bad-length":
        odf = b"\xa4\x84\xff\xff\xff\xf0" + odf
    elif profile == "loop":
        # An entry that leads to the ODF itself, and one that is there twice.
        odf = tlv(0xA4, path("3F0050155031")) + odf + tlv(0xA4, path(base + "4404"))
    elif profile == "indefinite":
        odf = b"\xa4\x80" + path("3F0050154404") + b"\0\0"
    elif profile == "wrapped":
        odf = seq(odf)
    elif profile == "many":
        odf = b"".join(tlv(0xA4, path("3F005015%04X" % (0x6000 + n))) for n in range(60))

    serial = bytes.fromhex(options.serial)
    info = seq(integer(0), octets(serial), utf8("vsmartcard"), tlv(0x80, options.label.encode()), bits(1, 2, 3))
    pad = b"\xff" if profile == "padded" else b"\0"

    def ef(file, data, **more):
        app.append(TransparentStructureEF(parent=app, fid=file, data=data, **more))

    ef(0x5031, odf if profile in ("truncated", "many") else odf.ljust(256, pad))
    ef(0x5032, info)
    for _, file, data in directories:
        if profile == "padded":
            data = b"\0\0" + data
        if profile == "missing-directory" and file == 0x4407:
            continue
        # Directories have spare room, as on real cards.
        ef(file, data.ljust(max(512, len(data) + 40), pad))
    for file, data in files.items():
        if not (profile == "no-file" and data == content["own.der"]):
            ef(file, data)
    ef(0x4B01, b"")
    return mf


def length_bytes(n):
    return n.to_bytes(n.bit_length() // 8 + 1, "big")


class Quick:
    """vpcd 3.3 writes the length and the command apart; without this the second write waits for our delayed ACK (40 ms)."""

    def __init__(self, connection):
        self.connection = connection

    def recv(self, n):
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return self.connection.recv(n, socket.MSG_WAITALL)

    def sendall(self, data):
        self.connection.sendall(data)

    def close(self):
        self.connection.close()


class OS(Iso7816OS):
    """The card OS, with command chaining, which the package lacks, and with faults."""

    commands, chained = 0, b""
    options = None

    def execute(self, message):
        options = self.options
        OS.commands += 1
        if options.count:
            with open(options.count, "w") as count:
                count.write(str(OS.commands))
        if options.delay:
            time.sleep(options.delay)
        if options.pull_after is not None and OS.commands > options.pull_after:
            os._exit(3)
        if options.mute_after is not None and OS.commands > options.mute_after:
            time.sleep(3600)
        lie = self.lie(message)
        if lie is not None:
            return lie
        if message[0] & 0x10 and len(message) > 5:
            self.chained += message[5 : 5 + message[4]]
            return b"\x90\x00"
        if self.chained:
            data, self.chained = self.chained + message[5 : 5 + message[4]], b""
            message = message[:4] + b"\0" + len(data).to_bytes(2, "big") + data + b"\0\0"
        return Iso7816OS.execute(self, message)

    def lie(self, message):
        """What a card says that does not tell the truth about its files."""
        profile, ins = self.options.profile, message[1]
        if profile == "endless" and ins == 0xB0:
            return b"\x30" * 255 + b"\x90\x00"
        if profile == "always-more" and ins in (0xB0, 0xC0):
            return b"\x30" * 200 + b"\x61\xff"
        if profile == "short" and ins == 0xA4:
            return b"\x90"
        if profile == "no-raw" and ins == 0x2A and not message[0] & 0x10 and len(self.chained) > 200:
            self.chained = b""
            return b"\x6a\x80"
        return None

    def reset(self):
        Iso7816OS.reset(self)
        self.SAM.is_verified = False

    def powerUp(self):
        Iso7816OS.powerUp(self)
        self.SAM.is_verified = False

    def powerDown(self):
        self.SAM.is_verified = False


class LyingSize(OS):
    """Selecting a file says that it has two bytes less, or far more, than it has."""

    def execute(self, message):
        answer = OS.execute(self, message)
        profile = self.options.profile
        if message[1] == 0xA4 and answer[:1] in (b"\x6f", b"\x62"):
            for tag in (0x80, 0x81):
                at = answer.find(bytes([tag, 2]))
                if at > 0:
                    size = int.from_bytes(answer[at + 2 : at + 4], "big")
                    size = max(0, size - 40) if profile == "size-too-small" else size + 300
                    answer = answer[: at + 2] + size.to_bytes(2, "big") + answer[at + 4 :]
        return answer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--content", required=True)
    parser.add_argument("--profile", default="good", help="see the word `profile` in this file")
    parser.add_argument("--serial", default="1234", help="hexadecimal")
    parser.add_argument("--label", default="OMA DM card")
    parser.add_argument("--pin", default="1234")
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--left", type=int, help="tries that are left")
    parser.add_argument("--silent-pin", action="store_true", help="the card does not tell its counter")
    parser.add_argument("--pull-after", type=int, metavar="COMMANDS")
    parser.add_argument("--mute-after", type=int, metavar="COMMANDS")
    parser.add_argument("--delay", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--count", metavar="FILE", help="the number of commands is kept in it")
    parser.add_argument("--history", default="OMADM-P15", help="of the answer to reset")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")

    content = {}
    for name in os.listdir(options.content):
        with open(os.path.join(options.content, name), "rb") as file:
            content[name] = file.read()
    key = serialization.load_der_private_key(content["key.p8"], None)
    left = options.tries if options.left is None else options.left
    sam = Sam(options.pin, key, options.tries, left, options.silent_pin)
    mf = build(options, content, key, sam)
    sam.set_MF(mf)

    OS.options = options
    kind = LyingSize if options.profile.startswith("size-") else OS
    # Its own __init__ picks the card by a fixed list of types.
    icc = VirtualICC.__new__(VirtualICC)
    icc.os, icc.host, icc.port, icc.server_sock = kind(mf, sam), "127.0.0.1", options.port, None
    icc.os.atr = Iso7816OS.makeATR(T=1, directConvention=True, TA1=0x13, histChars=b"\x80" + options.history.encode())
    icc.sock = Quick(VirtualICC.connectToPort("127.0.0.1", options.port))
    print("in the reader", flush=True)
    icc.run()


main()
