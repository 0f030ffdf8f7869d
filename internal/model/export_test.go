package model

// SetFlashTokens changes from how many queries on attention is computed in
// tiles, and returns what it was.
func SetFlashTokens(n int64) int64 {
	old := flashTokens
	flashTokens = n
	return old
}
