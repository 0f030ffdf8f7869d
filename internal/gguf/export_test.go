package gguf

// Setters of types that no key of a model has.

// SetInt32 adds an int32.
func (w *Writer) SetInt32(key string, value int32) { setScalar(w, key, kindInt32, value) }

// SetUint32s adds an array of uint32.
func (w *Writer) SetUint32s(key string, value []uint32) { setSlice(w, key, kindUint32, value) }
