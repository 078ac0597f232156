"""Readers of labelled clips, one a layout; `FORMATS` names them for `--format`."""

from __future__ import annotations

from training.data.sources import asvspoof, celeb_df, dfdc, faceforensics, in_the_wild, local, wavefake
from training.data.sources.source import Source

# The order in which they are tried: what a user wrote by hand comes first, the loosest layout last.
FORMATS: dict[str, Source] = {
    source.name: source
    for source in (
        local.MANIFEST,
        faceforensics.FACEFORENSICS,
        celeb_df.CELEB_DF,
        dfdc.DFDC,
        asvspoof.ASVSPOOF_2019,
        asvspoof.ASVSPOOF_2021,
        wavefake.WAVEFAKE,
        in_the_wild.IN_THE_WILD,
        local.FOLDER,
    )
}
