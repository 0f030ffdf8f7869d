package tokenizer

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// words of many scripts, from the Universal Declaration of Human Rights and
// from prompts.
var words = strings.Fields(`
all human beings are born free and equal in dignity rights they endowed with reason conscience should act towards one another
caption detect segment answer question describe ocr what is the cat dog man woman color of car where how many people
Tous les êtres humains naissent libres et égaux en dignité Alle Menschen sind frei und gleich an Würde Straße größer über
Todos los seres humanos nacen libres e iguales niño señor Vše lidé rodí se svobodní žluťoučký kůň Wszyscy ludzie rodzą się wolni źdźbło
Bütün insanlar hür haysiyet ve haklar bakımından eşit doğarlar ı İ Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm
Все люди рождаются свободными и равными в своём достоинстве и правах Всі люди народжуються вільними їжак ґанок Сви људи ѓ ќ
Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια ὅλοι ᾧ ΰ
يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق تمام لوگ آزاد اور کے برابر پیدا ہوئے
כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם שָׁלוֹם
सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है সমস্ত মানুষ স্বাধীনভাবে மனிதப் பிறவியினர்
มนุษย์ทั้งปวงเกิดมามีอิสระและเสมอภาคกันในศักดิ์ศรีและสิทธิ ມະນຸດທຸກຄົນ လူတိုင်းသည် មនុស្សទាំងអស់
人人生而自由，在尊严和权利上一律平等。 人人生而自由，在尊嚴和權利上一律平等。 すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。 カタカナ ｶﾀｶﾅ 𠮷野家 龘
모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다 ㄱㄴㄷ 각
ყველა ადამიანი იბადება თავისუფალი Բոլոր մարդիկ ծնվում են ազատ ᏂᎦᏓ ᠬᠦᠮᠦᠨ ሰው ሁሉ ነጻ ꦱꦧꦼꦤ ༄༅
`)

var oddities = []string{
	"👍", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "1️⃣", "❤️", "🧑🏿‍🚀", "\u200d", "\ufe0f", "\U0001f9ff", "\U0010ffff", "\ue000",
	"e\u0301", "n\u0303o", "Z\u0351\u036b\u0343\u036a", "\u0301", "ﬁ", "Å", "Ａ", "①", "½", "x²", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028",
	"\ufeff", "\u202e", "\u00ad", "▁", "▁▁", " ▁ ", "\ufffd", "\u0085", "\x7f", "\x01", "\x1b[0m",
	"\t", "\t\t", "\r\n", "\r", "\v", "\f", " ", "  ", "   ", "\n", "\n\n", " \n ", "\x00", "\x00\x00",
	"if (x[i] != 0) { return &y->z; }", "for i := range n {", "#include <stdio.h>", "a_b_c", "camelCaseName", "https://example.org/?q=1&r=%20", "\\u0041\\", "`~!@#$%^&*()-+=", "λx.x", "∀x∈ℝ: ∃y", "<b>x</b>", "<table><tr><td>1</td></tr></table>", "</h1>", "&lt;", "<!-- -->",
	"\xff", "\xc3", "\xc3\x28", "\xe2\x82", "\xe2\x28\xa1", "\xf0\x9f\x98", "\xf0\x9f", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xf8\x88\x80\x80\x80", "\x80", "\xbf\xbf",
}

// someText makes a text of words, oddities, tokens as they are spelled, broken
// tokens, tags, numbers, runs, control characters, random runes and random
// bytes.
func someText(r *rand.Rand, pieces []string) string {
	var b strings.Builder
	for range 1 + r.IntN(1+r.IntN(16)) {
		switch r.IntN(18) {
		default:
			for range 1 + r.IntN(6) {
				b.WriteString(words[r.IntN(len(words))])
				b.WriteString([]string{" ", " ", " ", "", ", ", "\n", "-"}[r.IntN(7)])
			}
		case 0, 1:
			b.WriteString(oddities[r.IntN(len(oddities))])
		case 2:
			fmt.Fprintf(&b, "<loc%04d>", r.IntN(1030))
		case 3:
			fmt.Fprintf(&b, "<seg%03d>", r.IntN(130))
		case 4:
			b.WriteString([]string{"<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "<image>", "<2mass>", "[@BOS@]", "<start_of_turn>", "<end_of_turn>"}[r.IntN(10)])
		case 5:
			fmt.Fprintf(&b, "<unused%d>", r.IntN(110))
		case 6:
			fmt.Fprintf(&b, "<0x%02X>", r.IntN(256))
		case 7: // a piece, or a part of one
			p := pieces[r.IntN(len(pieces))]
			from := r.IntN(len(p) + 1)
			b.WriteString(p[:from])
			if r.IntN(2) == 0 {
				b.WriteString(p[from:])
			}
		case 8:
			b.WriteString(strings.Repeat([]string{" ", "\n", "\t", "▁", "<", "a", "é", "日"}[r.IntN(8)], 1+r.IntN(70)))
		case 9:
			fmt.Fprint(&b, r.IntN(1<<uint(1+r.IntN(40))), []string{"", ".", ",", "%", "°"}[r.IntN(5)])
		case 10:
			for range 1 + r.IntN(8) {
				b.WriteRune(rune(r.IntN(1 << uint(7+r.IntN(14)))))
			}
		case 11:
			for range 1 + r.IntN(8) {
				b.WriteByte(byte(r.IntN(256)))
			}
		case 12: // the control characters of ASCII, tabs and a few of C1
			for range 1 + r.IntN(8) {
				b.WriteString([]string{"\t", "\t", string(rune(r.IntN(32))), "\x7f", string(rune(0x80 + r.IntN(32)))}[r.IntN(5)])
			}
		case 13:
			tag := []string{"table", "tr", "td", "th", "h1", "h6", "b", "i", "u", "p", "code", "pre", "ul", "li", "blockquote", "strong", "a"}[r.IntN(17)]
			fmt.Fprintf(&b, "%s%s%s", []string{"<", "</", "< "}[r.IntN(3)], tag, []string{">", "/>", " >", ""}[r.IntN(4)])
		}
	}
	return b.String()
}
