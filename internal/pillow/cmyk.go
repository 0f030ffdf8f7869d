package pillow

// UnderInk returns the light that an ink (0 none, 255 full) leaves of the light
// that black ink has left, as Pillow's conversion of CMYK to RGB rounds it: a
// sample of RGB is UnderInk(c, 255−k).
func UnderInk(ink, light byte) byte {
	t := uint32(ink)*uint32(light) + 128
	return light - byte((t>>8+t)>>8)
}
