// Package house holds the limits on the size of functions and macros, and the
// tests that keep to them: what is longer than a screen is split by meaning.
package house
