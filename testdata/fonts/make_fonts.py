#!/usr/bin/env python3
"""Makes the fonts of this folder: some letters of Noto fonts, and one color font that is drawn here.

  python make_fonts.py NOTO-FOLDER...    (fontTools 4; Debian's fonts-noto-core, fonts-noto-cjk, fonts-noto-color-emoji)
"""
import os
import sys
from fontTools import subset
from fontTools.colorLib.builder import buildCOLR, buildCPAL
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables import otTables as ot

HERE = os.path.dirname(os.path.abspath(__file__))
LETTERS = [  # file, number in a collection, text, output
    ("NotoSansArabic-Regular.ttf", -1, "قطة نائمة", "arabic.ttf"),
    ("NotoSansHebrew-Regular.ttf", -1, "חתול", "hebrew.ttf"),
    ("NotoSansDevanagari-Regular.ttf", -1, "बिल्ली", "devanagari.ttf"),
    ("NotoSansThai-Regular.ttf", -1, "แมวน้อย", "thai.ttf"),
    ("NotoSansCJK-Regular.ttc", 0, "猫の耳小", "japanese.otf"),
    ("NotoSansCJK-Regular.ttc", 1, "고양이", "korean.otf"),
    ("NotoColorEmoji.ttf", -1, "😺", "emoji.ttf"),
]


def cut(path, number, text, out):
    options = subset.Options(font_number=number, layout_features=["*"], notdef_outline=True, hinting=False, name_IDs=[0, 1, 2, 13, 14])
    font = subset.load_font(path, options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=text + " ")
    subsetter.subset(font)
    font["head"].modified = font["head"].created
    font.recalcTimestamp = False
    subset.save_font(font, os.path.join(HERE, out), options)


def square(x0, y0, x1, y1):
    pen = TTGlyphPen(None)
    pen.moveTo((x0, y0)), pen.lineTo((x0, y1)), pen.lineTo((x1, y1)), pen.lineTo((x1, y0)), pen.closePath()
    return pen.glyph()


def color():
    """U+1F7E5 in COLR version 0 (red, half covered by green), U+1F7E6 in version 1 (a blue gradient, scaled and moved)."""
    names = [".notdef", "space", "v0", "v1", "all", "right"]
    fb = FontBuilder(1000, isTTF=True)
    fb.setupGlyphOrder(names)
    fb.setupCharacterMap({0x20: "space", 0x1F7E5: "v0", 0x1F7E6: "v1"})
    empty = TTGlyphPen(None).glyph()
    fb.setupGlyf({".notdef": empty, "space": empty, "v0": square(0, 0, 1000, 700), "v1": square(0, 0, 1000, 700), "all": square(0, 0, 1000, 700), "right": square(500, 0, 1000, 700)})
    fb.setupHorizontalMetrics({n: (1000, 500 if n == "right" else 0) for n in names})
    fb.setupHorizontalHeader(ascent=900, descent=-200)
    fb.setupNameTable({"familyName": "Test Color", "styleName": "Regular"})
    fb.setupOS2(sTypoAscender=900, sTypoDescender=-200)
    fb.setupPost()
    stop = lambda offset, index: {"StopOffset": offset, "PaletteIndex": index, "Alpha": 1}
    gradient = {"Format": ot.PaintFormat.PaintLinearGradient, "ColorLine": {"ColorStop": [stop(0, 2), stop(1, 3)]},
                "x0": 0, "y0": 0, "x1": 1000, "y1": 0, "x2": 0, "y2": 1000}
    glyph = {"Format": ot.PaintFormat.PaintGlyph, "Paint": gradient, "Glyph": "all"}
    half = {"Format": ot.PaintFormat.PaintScale, "scaleX": 0.5, "scaleY": 1, "Paint": glyph}
    moved = {"Format": ot.PaintFormat.PaintTranslate, "dx": 500, "dy": 0, "Paint": half}
    base = {"Format": ot.PaintFormat.PaintGlyph, "Paint": {"Format": ot.PaintFormat.PaintSolid, "PaletteIndex": 0, "Alpha": 1}, "Glyph": "all"}
    fb.font["COLR"] = buildCOLR({"v0": [("all", 0), ("right", 1)],
                                 "v1": {"Format": ot.PaintFormat.PaintColrLayers, "Layers": [base, moved]}}, glyphMap=fb.font.getReverseGlyphMap())
    fb.font["CPAL"] = buildCPAL([[(1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (0, 0.5, 1, 1)]])
    fb.font["head"].created = fb.font["head"].modified = 0
    fb.font.recalcTimestamp = False
    fb.save(os.path.join(HERE, "color.ttf"))


for name, number, text, out in LETTERS:
    found = [os.path.join(d, name) for d in sys.argv[1:] if os.path.exists(os.path.join(d, name))]
    cut(found[0], number, text, out)
color()
