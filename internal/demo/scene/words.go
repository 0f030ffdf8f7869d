package scene

import (
	"math/rand/v2"
	"strings"
)

// SignWords are the words on signs: 200 common English words of two to six letters.
var SignWords = strings.Fields(`
air apple baby back ball bank bath bear bed best big bird boat body box boy bus buy cake car card cash cat chef class
clean close coat cold cool cup dark data deal desk dog down dream drive duck ear earth east eat egg enter eye face
fair fall fast fire first floor flower foot free fresh fruit full game garden gate girl glass gold good great guide
hair hand happy head help here hill home horse hotel hour ice idea job juice key king kiss lamp land late left lemon
life light local long look love low lunch mail map market milk money moon mouse museum music new news nice no north
nurse ocean office old one open order paint paper party pay pen phone photo pizza plan plant please pool potato push
queen quiet rain ready rice right road rock rose run sale school sea shoe shop sign sing sit sleep slow soap song soup
space speed sport spring start stop store street sugar sun swim table tap taxi team tiger tiny today tour toy train
travel truck turn up wait wall wash watch way west wheel wide wild window wine wish word work write yes zone
`)

// signWords picks one or two words.
func signWords(r *rand.Rand) []string {
	words := []string{choice(r, SignWords)}
	if r.IntN(2) == 0 {
		words = append(words, choice(r, SignWords))
	}
	return words
}
