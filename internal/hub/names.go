package hub

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"paligemma/internal/quote"
)

const (
	maxID       = 96 // bytes, as the hub has it
	maxRevision = 200
	maxPath     = 255
)

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?/[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?$`)

// CheckID refuses what is not the name of a repository, OWNER/NAME.
func CheckID(id string) error {
	if len(id) > maxID || !idPattern.MatchString(id) || strings.Contains(id, "--") || strings.Contains(id, "..") {
		return fmt.Errorf("%s is not the name of a repository: want OWNER/NAME, as google/paligemma2-3b-mix-224", quote.Short(id))
	}
	for part := range strings.SplitSeq(id, "/") {
		if reserved(part) {
			return fmt.Errorf("%s is not a name that every system can store", quote.Short(id))
		}
	}
	return nil
}

// CheckRevision refuses what is not a branch, a tag or a commit.
func CheckRevision(revision string) error {
	bad := func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(`~^:?*[\`, r)
	}
	if revision == "" || len(revision) > maxRevision || strings.ContainsFunc(revision, bad) || strings.Contains(revision, "..") ||
		strings.HasPrefix(revision, "/") || strings.HasSuffix(revision, "/") {
		return fmt.Errorf("%s is not a revision: want a branch, a tag or a commit", quote.Short(revision))
	}
	return nil
}

// IsCommit reports whether a revision is a whole commit, which never changes.
func IsCommit(revision string) bool { return sha1Pattern.MatchString(revision) }

// checkListed refuses a path that no repository has: it would leave its folder.
func checkListed(path string) error {
	switch {
	case path == "" || !utf8.ValidString(path):
		return errors.New("not a path")
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("it has control characters")
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return errors.New("it would leave the folder")
		}
	}
	return nil
}

// CheckFile refuses a name that some system cannot store in a folder, or takes for
// something else, such as a device.
func CheckFile(name string) error {
	err := checkListed(name)
	switch {
	case err != nil:
	case len(name) > maxPath:
		err = errors.New("too long")
	case strings.ContainsAny(name, `/\:*?"<>|`) || strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		err = errors.New("it has characters that not every system can store")
	case reserved(name):
		err = errors.New("Windows takes it for a device")
	default:
		return nil
	}
	return fmt.Errorf("the repository has a file %s, which is not downloaded: %w", quote.Short(name), err)
}

var devices = regexp.MustCompile(`(?i)^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?$`)

// reserved reports whether Windows takes a name for a device.
func reserved(name string) bool { return devices.MatchString(name) }

// checkDistinct refuses names that are one where case does not count.
func checkDistinct(files []File) error {
	var names []string
	for _, f := range files {
		names = append(names, strings.ToLower(f.Path))
	}
	slices.Sort(names)
	for i := 1; i < len(names); i++ {
		if names[i] == names[i-1] {
			return fmt.Errorf("the repository has %s twice, in upper and lower case", quote.Short(names[i]))
		}
	}
	return nil
}
