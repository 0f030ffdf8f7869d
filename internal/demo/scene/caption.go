package scene

import (
	"strings"
)

// Captions name the objects from left to right, each one's place given as seen
// from the next, and a sign at the end:
//
//	caption en: a large red circle left of a small blue square above a medium green star and a sign
//	caption es: un círculo rojo grande a la izquierda de un cuadrado azul pequeño encima de una estrella verde mediana y un letrero
//
// A picture of a sign alone has no caption; none is drawn.

// Langs are the languages of captions.
var Langs = []string{"en", "es"}

// Caption is what a caption says.
type Caption struct {
	Objects   []Named  `json:"objects"`
	Relations []string `json:"relations"` // one of Relations between each object and the next
	Sign      bool     `json:"sign"`
}

// Named is an object as a caption names it; what it leaves out is "".
type Named struct {
	Color string `json:"color"`
	Shape string `json:"shape"`
	Size  string `json:"size"`
}

// noun is the name of a shape in a language whose adjectives agree with it.
type noun struct {
	word     string
	feminine bool
}

var spanishShapes = map[string]noun{
	"circle": {"círculo", false}, "square": {"cuadrado", false}, "triangle": {"triángulo", false},
	"star": {"estrella", true}, "cross": {"cruz", true}, "ring": {"anillo", false},
}

// spanish are colors and sizes, masculine; an o at the end becomes an a.
var spanish = map[string]string{
	"red": "rojo", "green": "verde", "blue": "azul", "yellow": "amarillo",
	"orange": "naranja", "purple": "morado", "black": "negro", "white": "blanco",
	"small": "pequeño", "medium": "mediano", "large": "grande",
}

var spanishRelations = map[string]string{
	"left of": "a la izquierda de", "right of": "a la derecha de", "above": "encima de", "below": "debajo de",
}

// ends are the words for a sign at the end of a caption.
var ends = map[string]string{"en": " and a sign", "es": " y un letrero"}

// Caption is what the captions of the scene say.
func (s *Scene) Caption() Caption {
	c := Caption{Sign: s.Sign != nil}
	for i := range s.Objects {
		o := &s.Objects[i]
		c.Objects = append(c.Objects, Named{o.Color, o.Shape, o.Size})
		if i > 0 {
			c.Relations = append(c.Relations, s.relation(&s.Objects[i-1], o))
		}
	}
	return c
}

// Text is the caption in a language, one of Langs; "" stands for "en".
func (c Caption) Text(lang string) string {
	var b strings.Builder
	for i, o := range c.Objects {
		if i > 0 {
			rel := ""
			if i-1 < len(c.Relations) {
				rel = c.Relations[i-1]
			}
			b.WriteString(" " + relationWords(rel, lang) + " ")
		}
		b.WriteString(o.text(lang))
	}
	if c.Sign {
		if lang != "es" {
			lang = "en"
		}
		b.WriteString(ends[lang])
	}
	return b.String()
}

func relationWords(rel, lang string) string {
	if lang == "es" {
		return spanishRelations[rel]
	}
	return rel
}

// text is the object's name with its article.
func (n Named) text(lang string) string {
	if lang != "es" {
		return "a " + n.Size + " " + n.Color + " " + n.Shape
	}
	article := "un"
	shape := spanishShapes[n.Shape]
	if shape.feminine {
		article = "una"
	}
	return article + " " + shape.word + " " + agree(spanish[n.Color], shape.feminine) + " " + agree(spanish[n.Size], shape.feminine)
}

// agree is the form of a Spanish adjective.
func agree(word string, feminine bool) string {
	if feminine && strings.HasSuffix(word, "o") {
		return strings.TrimSuffix(word, "o") + "a"
	}
	return word
}

// words maps each word of either language to what it means.
var words = func() map[string]Named {
	m := map[string]Named{}
	for _, v := range Colors {
		m[v] = Named{Color: v}
		m[spanish[v]] = m[v]
		m[agree(spanish[v], true)] = m[v]
	}
	for _, v := range Sizes {
		m[v] = Named{Size: v}
		m[spanish[v]] = m[v]
		m[agree(spanish[v], true)] = m[v]
	}
	for _, v := range Shapes {
		m[v] = Named{Shape: v}
		m[spanishShapes[v].word] = m[v]
	}
	return m
}()

// ParseCaption reads a caption in either language; it need not be well formed.
// ok reports that it is exactly a caption in Text's grammar; otherwise c is what
// could be made out: each phrase between relations that names a shape is an
// object, a relation that does not stand between two objects is dropped, and
// unknown words are passed over.
func ParseCaption(text string) (c Caption, ok bool) {
	fields := strings.Fields(text)
	var cur Named
	rel := "" // between the last object and the current phrase
	rels := []string{}
	flush := func() {
		if cur.Shape != "" {
			if len(c.Objects) > 0 {
				rels = append(rels, rel)
			}
			c.Objects = append(c.Objects, cur)
		}
		cur = Named{}
	}
	for i := 0; i < len(fields); {
		if name, n := relationAt(fields[i:]); n > 0 {
			flush()
			rel = name
			i += n
			continue
		}
		switch w := fields[i]; w {
		case "sign", "letrero":
			c.Sign = true
		case "and", "y":
			flush()
			rel = ""
		default:
			v := words[w]
			if v.Shape != "" && cur.Shape != "" { // a second noun: another object
				flush()
				rel = ""
			}
			cur = Named{cur.Color + first(v.Color, cur.Color), cur.Shape + first(v.Shape, cur.Shape), cur.Size + first(v.Size, cur.Size)}
		}
		i++
	}
	flush()
	c.Relations = rels
	if len(rels) == 0 {
		c.Relations = nil
	}
	if len(c.Objects) == 0 {
		return c, false
	}
	return c, text == c.Text("en") || text == c.Text("es")
}

// first is v if nothing was named before.
func first(v, before string) string {
	if before != "" {
		return ""
	}
	return v
}

// relationAt returns the relation with which the words begin and its length in
// words, 0 if there is none.
func relationAt(fields []string) (name string, n int) {
	for _, rel := range Relations {
		for _, lang := range Langs {
			want := strings.Fields(relationWords(rel, lang))
			if len(fields) < len(want) {
				continue
			}
			same := true
			for i, w := range want {
				same = same && fields[i] == w
			}
			if same {
				return rel, len(want)
			}
		}
	}
	return "", 0
}

// facts are the statements of a caption: of every object that there is such a
// shape, of what color, and of what size; of every two neighbors their
// relation (a "right of" or "below" is reversed); that there is a sign.
func (c Caption) facts() []string {
	var f []string
	for _, o := range c.Objects {
		f = append(f, o.Shape)
		if o.Color != "" {
			f = append(f, o.Color+" "+o.Shape)
		}
		if o.Size != "" {
			f = append(f, o.Size+" "+o.Color+" "+o.Shape)
		}
	}
	for i, rel := range c.Relations {
		if rel != "" {
			f = append(f, relationFact(c.Objects[i], rel, c.Objects[i+1]))
		}
	}
	if c.Sign {
		f = append(f, "sign")
	}
	return f
}

func relationFact(a Named, rel string, b Named) string {
	switch rel {
	case "right of":
		a, rel, b = b, "left of", a
	case "below":
		a, rel, b = b, "above", a
	}
	return a.Color + " " + a.Shape + " " + rel + " " + b.Color + " " + b.Shape
}
