package gguf

// Has reports whether the file has the key, of whatever type.
func (h *Header) Has(key string) bool { return false }

// Keys lists the metadata keys in file order.
func (h *Header) Keys() []string { return nil }

// KeyType describes the type of a key's value, such as "uint32" or "array of
// 257216 string"; it is empty for a missing key.
func (h *Header) KeyType(key string) string { return "" }

// Value decodes a key's value to the Go type of the same meaning (uint8 …
// float64, bool, string, or a slice of one), or to nil for a missing key.
func (h *Header) Value(key string) any { return nil }

// String returns the string at key.
func (h *Header) String(key string) (string, error) { return "", &MissingKeyError{key} }

// Bool returns the bool at key.
func (h *Header) Bool(key string) (bool, error) { return false, &MissingKeyError{key} }

// Uint32 returns the uint32 at key.
func (h *Header) Uint32(key string) (uint32, error) { return 0, &MissingKeyError{key} }

// Uint64 returns the uint64 at key.
func (h *Header) Uint64(key string) (uint64, error) { return 0, &MissingKeyError{key} }

// Int32 returns the int32 at key.
func (h *Header) Int32(key string) (int32, error) { return 0, &MissingKeyError{key} }

// Int returns the integer at key, of any integer type, if an int can hold it.
func (h *Header) Int(key string) (int, error) { return 0, &MissingKeyError{key} }

// Float32 returns the float32 at key.
func (h *Header) Float32(key string) (float32, error) { return 0, &MissingKeyError{key} }

// Strings returns a copy of the array of strings at key.
func (h *Header) Strings(key string) ([]string, error) { return nil, &MissingKeyError{key} }

// Int32s returns a copy of the array of int32 at key.
func (h *Header) Int32s(key string) ([]int32, error) { return nil, &MissingKeyError{key} }

// Uint32s returns a copy of the array of uint32 at key.
func (h *Header) Uint32s(key string) ([]uint32, error) { return nil, &MissingKeyError{key} }

// Float32s returns a copy of the array of float32 at key.
func (h *Header) Float32s(key string) ([]float32, error) { return nil, &MissingKeyError{key} }
