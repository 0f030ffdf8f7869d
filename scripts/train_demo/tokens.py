"""The tokenizer of the built-in model: the layout of PaliGemma's with a small vocabulary."""
import collections
import string

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
NEWLINES = ["\n" * n for n in range(1, 5)]
LOCS = [f"<loc{i:04d}>" for i in range(1024)]
SEGS = [f"<seg{i:03d}>" for i in range(128)]
ALPHABET = string.ascii_letters + string.digits + "▁.,;:!?'\"()-/%&áéíñóúü"


def merges_of(words):
    """Byte-pair merges until every word is one piece; of equally frequent pairs the first in the alphabet goes first."""
    words = [list(w) for w in sorted(set(words))]
    merges = []
    while True:
        pairs = collections.Counter(p for w in words for p in zip(w, w[1:]))
        if not pairs:
            return merges
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i:i + 2] = ["".join(best)]
                i += 1


def build(vocabulary):
    """The tokenizer in which every word of vocabulary is one token."""
    words = [w for w in vocabulary if len(w) > 1]
    words += ["▁" + w for w in words + ["a", "y", ";"]] + ["▁" + c for c in "01234"]
    merges = [(n[:-1], "\n") for n in NEWLINES[1:]] + merges_of(words)
    pieces = dict.fromkeys(a + b for a, b in merges if a[0] != "\n")
    head = SPECIAL + ["<mask>"] + NEWLINES + [f"<0x{i:02X}>" for i in range(256)]
    tokens = head + list(pieces) + [c for c in dict.fromkeys(ALPHABET) if c not in pieces] + LOCS + SEGS
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Replace(" ", "▁")
    tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous", invert=False)
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tok.add_tokens([AddedToken(t, normalized=True, special=False) for t in ["<mask>"] + NEWLINES + LOCS + SEGS])
    tok.add_special_tokens([AddedToken("<image>", normalized=False, special=True)])
    tok.post_processor = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)])
    return tok
