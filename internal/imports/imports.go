// Package imports holds the rule of who may import whom in this module, the
// file allowed.txt, and the test that compares it with the code.
package imports
