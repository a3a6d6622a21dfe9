"""The words of this field and of this code: one word, one meaning.

`README.md` shows them as a table, and a test holds the two together. A name that is not here is
used as numpy, Bluesky or event-model use it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """One word.

    Attributes
    ----------
    name : as it stands in code, results and documentation.
    meaning : one sentence, with the unit where there is one.
    """

    name: str
    meaning: str


GLOSSARY: tuple[Term, ...] = (
    Term("document", "a Bluesky event-model document, always a pair `(name, doc)`"),
    Term("raw run, result run", "the run the beamline made; the run that is emitted about it"),
    Term("frame", "one detector image (H, W) with its key (run, stream, data key, seq_num, index)"),
    Term("transmission, OD", "(frame - dark) / (flat - dark); optical density is -ln of it"),
    Term("detection", "one particle seen in one frame: mask, centre of mass, score; no identity"),
    Term("track", "what the linker knows of one particle: state, velocity, mask, last detection"),
    Term("observation", "what one frame adds to a track"),
    Term("particle", "an identity, linked over frames and never used again within a sample"),
    Term("state of a particle", "tentative, tracked, coasting (predicted), lost or retired"),
    Term("ROI", "the square window of one particle"),
    Term("template", "what a particle looked like at one contrast; its rim is matched with it"),
    Term("rim", "the band around the contour of a particle, in which it is registered"),
    Term("drift", "the rigid motion that all particles share, (y, x) px"),
    Term("deformation", "what is left of motion after drift: affine field and residual"),
    Term("displacement", "position now minus position when first tracked, px"),
    Term("gauge", "the declared choice that separates drift from mean deformation"),
    Term("magnification", "scale of the image at an energy, relative to the first"),
    Term("provisional, final", "computed before and after the flat of that energy was known"),
    Term("revision", "0 for what could be known at once, higher for what replaces it"),
    Term("second pass", "all frames of a run registered once more at its stop"),
    Term("detection mode", "networks, classical (no weights) or coasting (predicted only)"),
    Term("flat, dark", "image without the sample; image without beam"),
    Term("fraction", "share of the oxidised phase in a two-phase fit of a spectrum, 0 to 1"),
    Term("edge energy", "energy at half of the absorption step, eV"),
    Term("white line", "energy and height of the first maximum above the edge"),
    Term("ledger", "received = aligned + degraded + skipped + dropped; it must balance"),
    Term("advice", "an alert or a recommended stage move; nothing moves by it alone"),
    Term(
        "sink",
        "where result documents go: Tiled, 0MQ, a file; with a thread and a queue of its own",
    ),
    Term("journal", "every received document on disk before anything else is done with it"),
    Term("checkpoint", "the state of the processor at a position of the journal"),
    Term("shift", "what is added to a moving image to land on the reference, (y, x) px"),
)


def as_markdown() -> str:
    """Return the glossary as a Markdown table."""
    rows = (f"| {term.name} | {term.meaning} |" for term in GLOSSARY)
    return "\n".join(["| word | meaning |", "|---|---|", *rows])
