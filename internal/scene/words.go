package scene

import (
	"math/rand/v2"
	"strings"
)

// SignWords are the words on signs: common English words of two to six letters.
var SignWords = strings.Fields(`
air apple art baby back bag ball bank bar bath beach bear bed beer best big bike bird blood boat body book box boy bread
bus busy buy cake camp car card care cash cat chair chef city class clean clock close coat coffee cold cook cool cup dance
dark data day deal deep desk dog door down dream drink drive dry duck ear early earth east easy eat egg end enter exit eye
face fact fair fall farm fast film fire first fish floor flower food foot fork free fresh friend fruit full fun game garden
gas gate gift girl glass go gold good grass great guest guide hair hall hand happy hat head heart help here high hill home
honey horse hot hotel hour house ice idea jam job juice jump key kind king kiss lake lamp land last late leaf left lemon
letter life light lion local lock long look lost love low lucky lunch magic mail map mark market milk mind money moon more
mouse movie museum music name new news next nice night no north now nurse ocean off office oil old one onion open order out
paint paper park party path pay pen people phone photo piano pizza place plan plant play please pool post potato price
push queen quick quiet rain read ready rest rice right river road rock room rose run safe sale salt school sea seat shoe
shop show sign silver sing sit sky sleep slow snow soap soft song soup south space speed spoon sport spring stairs start
stay stop store storm street sugar summer sun sweet swim table tall tap taxi tea team test tiny tiger time today
tour town toy track train travel tree truck turn two up wait walk wall warm wash watch water way west wet wheel
white wide wild wind window wine winter wish wood word work world write yes young zone zoo
`)

// signWords picks one or two words.
func signWords(r *rand.Rand) []string {
	words := []string{choice(r, SignWords)}
	if r.IntN(2) == 0 {
		words = append(words, choice(r, SignWords))
	}
	return words
}
