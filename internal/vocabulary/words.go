package vocabulary

import "strings"

// Words of many scripts, from the Universal Declaration of Human Rights and from
// prompts.
var Words = strings.Fields(`
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
