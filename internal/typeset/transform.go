package typeset

import "github.com/go-text/typesetting/font/opentype/tables"

// transformed returns what a paint transforms, and how. It reports false for a paint
// that is not a transformation.
func transformed(paint tables.PaintTable) (inner tables.PaintTable, m affine, ok bool) {
	if inner, m, ok = moved(paint); ok {
		return inner, m, true
	}
	if inner, m, ok = scaled(paint); ok {
		return inner, m, true
	}
	return rotated(paint)
}

func moved(paint tables.PaintTable) (tables.PaintTable, affine, bool) {
	switch t := paint.(type) {
	case tables.PaintTransform:
		a := t.Transform
		return t.Paint, affine{float64(a.Xx), float64(a.Yx), float64(a.Xy), float64(a.Yy), float64(a.Dx), float64(a.Dy)}, true
	case tables.PaintVarTransform:
		a := t.Transform
		return t.Paint, affine{float64(a.Xx), float64(a.Yx), float64(a.Xy), float64(a.Yy), float64(a.Dx), float64(a.Dy)}, true
	case tables.PaintTranslate:
		return t.Paint, translation(t.Dx, t.Dy), true
	case tables.PaintVarTranslate:
		return t.Paint, translation(t.Dx, t.Dy), true
	}
	return nil, identity, false
}

func scaled(paint tables.PaintTable) (tables.PaintTable, affine, bool) {
	switch t := paint.(type) {
	case tables.PaintScale:
		return t.Paint, scaling(t.ScaleX, t.ScaleY), true
	case tables.PaintVarScale:
		return t.Paint, scaling(t.ScaleX, t.ScaleY), true
	case tables.PaintScaleAroundCenter:
		return t.Paint, scaling(t.ScaleX, t.ScaleY).around(t.CenterX, t.CenterY), true
	case tables.PaintVarScaleAroundCenter:
		return t.Paint, scaling(t.ScaleX, t.ScaleY).around(t.CenterX, t.CenterY), true
	case tables.PaintScaleUniform:
		return t.Paint, scaling(t.Scale, t.Scale), true
	case tables.PaintVarScaleUniform:
		return t.Paint, scaling(t.Scale, t.Scale), true
	case tables.PaintScaleUniformAroundCenter:
		return t.Paint, scaling(t.Scale, t.Scale).around(t.CenterX, t.CenterY), true
	case tables.PaintVarScaleUniformAroundCenter:
		return t.Paint, scaling(t.Scale, t.Scale).around(t.CenterX, t.CenterY), true
	}
	return nil, identity, false
}

func rotated(paint tables.PaintTable) (tables.PaintTable, affine, bool) {
	switch t := paint.(type) {
	case tables.PaintRotate:
		return t.Paint, rotation(t.Angle), true
	case tables.PaintVarRotate:
		return t.Paint, rotation(t.Angle), true
	case tables.PaintRotateAroundCenter:
		return t.Paint, rotation(t.Angle).around(t.CenterX, t.CenterY), true
	case tables.PaintVarRotateAroundCenter:
		return t.Paint, rotation(t.Angle).around(t.CenterX, t.CenterY), true
	case tables.PaintSkew:
		return t.Paint, skewing(t.XSkewAngle, t.YSkewAngle), true
	case tables.PaintVarSkew:
		return t.Paint, skewing(t.XSkewAngle, t.YSkewAngle), true
	case tables.PaintSkewAroundCenter:
		return t.Paint, skewing(t.XSkewAngle, t.YSkewAngle).around(t.CenterX, t.CenterY), true
	case tables.PaintVarSkewAroundCenter:
		return t.Paint, skewing(t.XSkewAngle, t.YSkewAngle).around(t.CenterX, t.CenterY), true
	}
	return nil, identity, false
}
