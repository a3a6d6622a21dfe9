"""Reference spectra out of files of all the kinds that people have."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from operando.streamer.core.xanes import (
    PhaseReference,
    XanesSettings,
    digest,
    make_basis,
    make_reference,
)
from operando.streamer.core.xanes.curve import find_edges, make_operators
from operando.streamer.core.xanes.fit import inverse
from operando.streamer.core.xanes.state import ROW, fixed_rows
from operando.streamer.errors import ConfigError
from operando.streamer.io.reference_files import load_references, read_spectrum
from operando.streamer.lab.simulate.spectra import OXIDISED, REDUCED, absorption

ENERGY = np.arange(8200.0, 8500.0, 1.0)
MU = absorption(ENERGY, REDUCED)


def rows(*columns, form="%.6f"):
    return "\n".join(" ".join(form % value for value in row) for row in zip(*columns, strict=True))


COUNTS = np.full_like(MU, 1e6)
FILES = {
    "xdi.xdi": "# XDI/1.0\n# Column.1: energy eV\n# Column.2: i0\n# Column.3: itrans\n# ///\n"
    "# energy i0 itrans\n" + rows(ENERGY, COUNTS, COUNTS * np.exp(-MU)),
    "fluorescence.xdi": "# XDI/1.0\n# Column.1: energy eV\n# Column.2: i0\n# Column.3: ifluor\n"
    + rows(ENERGY, COUNTS, COUNTS * MU),
    "bare.txt": rows(ENERGY, MU),
    "kev.txt": rows(ENERGY / 1000, MU, form="%.9f"),
    "comma.csv": "energy,mu\n" + rows(ENERGY, MU).replace(" ", ","),
    "athena.xmu": "# Athena data file\n#----\n#  e xmu bkg pre_edge\n"
    + rows(ENERGY, MU, 0 * MU, 0 * MU),
    "athena.nor": "# Athena data file\n#----\n# energy norm nbkg flat\n"
    + rows(ENERGY, MU, 0 * MU, 0 * MU),
}


@pytest.mark.parametrize("name", FILES)
def test_text(tmp_path, name):
    (tmp_path / name).write_text(FILES[name])
    energy, mu = read_spectrum(tmp_path / name)
    np.testing.assert_allclose(energy, ENERGY, atol=1e-5)
    np.testing.assert_allclose(mu, MU, atol=1e-5)


def perl(values):
    return "(" + ",".join(f"'{value:.7g}'" for value in values) + ")"


def test_athena_projects(tmp_path):
    group = (
        "$old_group = 'a';\n@args = ('titles',[],'label','{}','bkg_eshift','{}','is_nor',0);\n"
        f"@x = {perl(ENERGY)};\n@y = {perl(MU)};\n[record]   # create object\n\n"
    )
    text = "# Athena project file\n\n" + group.format("one; more", "0") + group.format("two", "1.5")
    (tmp_path / "a.prj").write_bytes(gzip.compress(text.encode()))
    content = {"_____header1": "#", "a": {"args": {"label": "j"}, "x": [*map(str, ENERGY)],
                                          "y": [*map(str, MU)]}}  # fmt: skip
    (tmp_path / "j.prj").write_text(json.dumps(content))
    for name, shift in (("a.prj", 0), ("a.prj#one; more", 0), ("a.prj#two", 1.5), ("j.prj#j", 0)):
        energy, mu = read_spectrum(tmp_path / name)
        np.testing.assert_allclose(energy, ENERGY + shift)
        np.testing.assert_allclose(mu, MU, rtol=1e-6)
    with pytest.raises(ConfigError, match=r"no group 'three'.*'one; more', 'two'"):
        read_spectrum(tmp_path / "a.prj#three")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "at least two columns"),
        ("1 2\n3 x\n", "no numbers"),
        ("1 2\n3 4 5\n", "two columns"),
        ("# Column.1: energy\n# Column.2: dwell\n8300 1\n8301 1\n", "no absorption"),
        (rows(ENERGY, 0 * MU), "span the edge"),
        (rows(ENERGY, 2 - MU), "edge"),
        (rows(ENERGY, np.where(ENERGY > 8400, np.nan, MU)), "finite"),
        (rows(ENERGY[:140], MU[:140]), "span the edge"),
    ],
)
def test_what_is_no_reference_is_refused(tmp_path, content, message):
    (tmp_path / "bad.txt").write_text(content)
    settings = XanesSettings(
        folder=str(tmp_path), references={"reduced": "bad.txt", "oxidised": "bad.txt"}
    )
    with pytest.raises(ConfigError, match=message):
        load_references(settings)


def test_a_file_that_is_not_there(tmp_path):
    settings = XanesSettings(
        folder=str(tmp_path), references={"reduced": "a.txt", "oxidised": "b.txt"}
    )
    with pytest.raises(ConfigError, match=r"a\.txt"):
        load_references(settings)


def test_references_are_normalised_shifted_and_hashed():
    settings = XanesSettings(energy_shift=1.25)
    one = make_reference("reduced", ENERGY[::-1], 3.0 * MU[::-1] + 7.0, settings)
    below, above = one.mu[one.energy < 8320], one.mu[one.energy > 8380]
    assert np.abs(below).max() < 0.02
    assert above.mean() == pytest.approx(1.0, abs=0.08)
    plain = make_reference("reduced", ENERGY, MU, XanesSettings())
    assert one.edge - plain.edge == pytest.approx(1.25, abs=0.02)
    assert digest((one,)) != digest((plain,))
    assert digest(()) == ""


def test_energies_outside_the_references_are_not_fitted():
    settings = XanesSettings(window=(8250.0, 8600.0))
    basis = make_basis(
        settings,
        tuple(
            make_reference(n, ENERGY, absorption(ENERGY, s), settings)
            for n, s in (("reduced", REDUCED), ("oxidised", OXIDISED))
        ),
    )
    rows_of = basis.rows(np.array([8210.0, 8300.0, 8550.0]))
    assert [bool(row.any()) for row in rows_of] == [False, True, False]


@pytest.mark.data
def test_real_references(shared_data):
    folder = shared_data / "xanes-references"
    edges = {}
    for name in (
        "pyxas/ref_NiO.txt", "pyxas/ref_LiNiO2.txt", "xasdatalibrary/Ni/Ni_metal_rt_01.xdi",
        "larch/NiO.prj", "larch/LaCoO3.prj", "larch/Mn_all.prj", "larch/Ni_FeNiS20_RT.prj",
        "larch/MnO_bv.prj", "larch/ni_metal_rt.xdi", "NCA_xanes.csv",
    ):  # fmt: skip
        energy, mu = read_spectrum(folder / name)
        assert len(energy) > 40
        edges[name] = make_reference(name, energy, mu, XanesSettings()).edge
    assert edges["pyxas/ref_LiNiO2.txt"] - edges["pyxas/ref_NiO.txt"] == pytest.approx(1.7, abs=0.2)
    metal = edges["xasdatalibrary/Ni/Ni_metal_rt_01.xdi"]
    assert edges["larch/ni_metal_rt.xdi"] == pytest.approx(metal, abs=1e-6)


@pytest.mark.data
def test_real_cathodes_at_three_voltages(shared_data):
    """NMC622 and NMC721 at 3.0, 4.3 and 4.8 V, 16 spectra: charging moves edge and white line."""
    path = shared_data / "xanes-references" / "featurexas" / "nmc_exp_xas.json"
    content = json.loads(path.read_text())
    energy = 8330.0 + 0.4 * np.arange(100)
    spectra = {
        (content["composition"][n], str(content["voltage"][n])): np.array(mu)
        for n, mu in content["intensity"].items()
    }
    curve = make_operators(energy, 8343.0, XanesSettings(smooth=1.0))
    for name in ("NMC622", "NMC721"):
        low, middle, high = (spectra[name, volts] for volts in ("3.0", "4.3", "4.8"))
        edges = find_edges(curve, np.stack([low, middle, high], axis=1), 0.0)
        assert 1.5 < edges.energy[1] - edges.energy[0] < 2.5
        assert edges.white_line[0] < edges.white_line[1] < edges.white_line[2]
        phases = tuple(
            PhaseReference(name=phase, energy=energy, mu=mu, edge=8343.0)
            for phase, mu in (("reduced", low), ("oxidised", high))
        )
        rows_of = make_basis(XanesSettings(degree=0), phases).rows(energy)
        weighted = fixed_rows(rows_of, np.ones(len(energy)))
        for mu, wanted in ((0.3 * low + 0.7 * high, 0.7), (middle, None)):
            right = (weighted.T * ROW) @ mu[:, None]
            reduced, oxidised = (inverse((weighted.T * ROW) @ rows_of) @ right)[-2:, 0]
            share = oxidised / (reduced + oxidised)
            assert share == pytest.approx(wanted, abs=1e-6) if wanted else 0.7 < share < 1.2
