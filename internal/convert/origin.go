package convert

import "paligemma/internal/gguf"

// Origin says where on a hub a checkpoint comes from.
type Origin struct {
	Repository string   // OWNER/NAME
	URL        string   // of its page
	Revision   string   // a branch, a tag or a commit, as it was asked for
	Commit     string   // what that was then
	Adapters   []string // merged into it: OWNER/NAME@COMMIT, with *SCALE where that is not 1
}

// The keys of an origin. The first two are GGUF's.
const (
	keyOriginURL        = "general.source.url"
	keyOriginRepository = "general.source.huggingface.repository"
	keyOriginRevision   = "general.source.huggingface.revision"
	keyOriginCommit     = "general.source.huggingface.commit"
	keyOriginAdapters   = "general.source.huggingface.adapters"
)

// setKeys writes the origin; nil has none.
func (o *Origin) setKeys(w *gguf.Writer) {
	if o == nil {
		return
	}
	w.SetString(keyOriginURL, o.URL)
	w.SetString(keyOriginRepository, o.Repository)
	w.SetString(keyOriginRevision, o.Revision)
	w.SetString(keyOriginCommit, o.Commit)
	if len(o.Adapters) > 0 {
		w.SetStrings(keyOriginAdapters, o.Adapters)
	}
}

// OriginOf returns what a file's keys say of its origin.
func OriginOf(h *gguf.Header) Origin {
	text := func(key string) string {
		s, _ := h.ShortString(key)
		return s
	}
	o := Origin{Repository: text(keyOriginRepository), URL: text(keyOriginURL), Revision: text(keyOriginRevision), Commit: text(keyOriginCommit)}
	o.Adapters, _ = h.Strings(keyOriginAdapters)
	return o
}
