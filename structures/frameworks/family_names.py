"""One name for every structural family: data sets write the same family in several ways."""

from __future__ import annotations

FAMILY_ALIASES: dict[str, str] = {
    "alluadite": "alluaudite",
    "anti-perovskites": "anti-perovskite",
    "antiperovskite": "anti-perovskite",
    "antiperovskites": "anti-perovskite",
    "argyrodites": "argyrodite",
    "borates": "borate",
    "carbonates": "carbonate",
    "carbonophosphates": "carbonophosphate",
    "chalcogenidotetrelates": "chalcogenidotetrelate",
    "chlorides": "chloride",
    "cholorides": "chloride",
    "electrolytes": "electrolyte",
    "fluorides": "fluoride",
    "fluorophosphates": "fluorophosphate",
    "garnet-like": "garnet",
    "garnets": "garnet",
    "halides": "halide",
    "hexaoxometalates": "hexaoxometalate",
    "hydrides": "hydride",
    "lgps": "LGPS",
    "lipon": "LiPON",
    "lisicon": "LISICON",
    "molybdates": "molybdate",
    "nasicon": "NASICON",
    "nitrides": "nitride",
    "orthosilicates": "orthosilicate",
    "oxides": "oxide",
    "oxyfluorides": "oxyfluoride",
    "oxyfluroides": "oxyfluoride",
    "perovskites": "perovskite",
    "phosphates": "phosphate",
    "post-spinel(cf)": "post-spinel",
    "post-spinel(marokite- cm)": "post-spinel",
    "post-spinels": "post-spinel",
    "prussian blue analogs": "Prussian blue analogue",
    "pyrochlores": "pyrochlore",
    "silicates": "orthosilicate",
    "spinel chalcogenides": "spinel chalcogenide",
    "spinels": "spinel",
    "sugilites": "sugilite",
    "sulfides": "sulphide",
    "sulfide": "sulphide",
    "sulphides": "sulphide",
    "thio-lisicon": "thio-LISICON",
    "thio-phosphate": "thiophosphate",
    "thiosulphates": "thiosulphate",
    "zirconates": "zirconate",
}
"""Lower-case name as found to the name used here; names not listed are only lower-cased."""

UNKNOWN_FAMILY = "unknown"


def canonical_family(name: str | None) -> str:
    """The one name of a family, for example ``spinel`` for ``SPINELS``.

    Args:
        name: As a data set writes it; None or empty gives ``unknown``.
    """
    text = " ".join((name or "").split()).lower()
    if not text:
        return UNKNOWN_FAMILY
    return FAMILY_ALIASES.get(text, text)
