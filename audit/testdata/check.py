"""Checks every log of a directory: chain, numbers, tree roots, key ids and, if possible, signatures."""
import base64, glob, hashlib, json, os, sys

try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    Ed25519PublicKey = None

sha = lambda data: hashlib.sha256(data).digest()


def root(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha(b"\1" + root(leaves[:k]) + root(leaves[k:]))


for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.jsonl"))):
    prev, leaves = "0" * 64, []
    for number, line in enumerate(open(path, "rb").read().split(b"\n")[:-1]):
        record = json.loads(line)
        assert (record["seq"], record["prev"]) == (number, prev), (path, number)
        leaves.append(sha(b"\0" + line))
        prev = leaves[-1].hex()
        if number == 0:
            key = base64.b64decode(record["public_key"])
    notes = open(path.removesuffix("jsonl") + "checkpoints").read().split("\n\n")
    for body, signed in zip(notes[0::2], notes[1::2]):
        origin, size, tree, _, head = body.split("\n")
        size = int(size)
        assert base64.b64decode(tree) == root(leaves[:size]), (path, size)
        assert head == "head " + leaves[size - 1].hex(), (path, size)
        _, name, blob = signed.strip().split(" ")
        blob = base64.b64decode(blob)
        assert name == origin and blob[:4] == sha(name.encode() + b"\n\1" + key)[:4], (path, size)
        if Ed25519PublicKey:
            Ed25519PublicKey.from_public_bytes(key).verify(blob[4:], (body + "\n").encode())
    print(f"{path}: {len(leaves)} records, {len(notes) // 2} checkpoints")
