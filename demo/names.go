package demo

import "strings"

// name is a given or family name as it is written, and in Latin letters for the e-mail address.
type name struct{ written, latin string }

func names(pairs string) []name {
	var list []name
	for _, pair := range strings.Fields(pairs) {
		written, latin, found := strings.Cut(pair, "=")
		if !found {
			latin = written
		}
		list = append(list, name{written, strings.ToLower(latin)})
	}
	return list
}

// language is where people's names come from. Family names are the same for women and men.
type language struct{ women, men, family []name }

var ukrainian = language{
	women: names(`Олена=Olena Ірина=Iryna Наталія=Nataliia Оксана=Oksana Тетяна=Tetiana Юлія=Yuliia Марія=Mariia
	Анна=Anna
		Катерина=Kateryna Світлана=Svitlana Людмила=Liudmyla Галина=Halyna Вікторія=Viktoriia Софія=Sofiia Дарина=Daryna
		Христина=Khrystyna Лариса=Larysa Надія=Nadiia Соломія=Solomiia Зоряна=Zoriana`),
	men: names(`Олександр=Oleksandr Андрій=Andrii Сергій=Serhii Володимир=Volodymyr Микола=Mykola Іван=Ivan
	Дмитро=Dmytro
		Тарас=Taras Богдан=Bohdan Юрій=Yurii Василь=Vasyl Петро=Petro Максим=Maksym Роман=Roman Ярослав=Yaroslav
		Остап=Ostap Назар=Nazar Віктор=Viktor Євген=Yevhen Павло=Pavlo`),
	family: names(`Шевченко=Shevchenko Коваленко=Kovalenko Бондаренко=Bondarenko Ткаченко=Tkachenko Кравченко=Kravchenko
		Олійник=Oliinyk Мельник=Melnyk Поліщук=Polishchuk Савчук=Savchuk Гриценко=Hrytsenko Руденко=Rudenko
		Марченко=Marchenko
		Мороз=Moroz Лисенко=Lysenko Павленко=Pavlenko Клименко=Klymenko Левченко=Levchenko Панченко=Panchenko
		Семенюк=Semeniuk Шевчук=Shevchuk Романюк=Romaniuk Гнатюк=Hnatiuk Дяченко=Diachenko Кузьменко=Kuzmenko
		Бойко=Boiko Гончар=Honchar Сорока=Soroka Вдовиченко=Vdovychenko Захарчук=Zakharchuk Яременко=Yaremenko`),
}

var english = language{
	women: names(`Emma Olivia Sarah Charlotte Grace Hannah Lucy Alice Rebecca Eleanor Megan Fiona Claire Joanna Rachel
	Beatrice`),
	men: names(`James Oliver William Thomas Henry George Daniel Samuel Edward Robert Patrick Simon Martin Andrew
	Peter Hugh`),
	family: names(`Whitfield Hargreaves Thornton Ashworth Barlow Caldwell Davenport Ellison Fairfax Gilmore Holloway
	Kendrick
		Langley Merriman Norwood Pemberton Radcliffe Sinclair Tremaine Underhill Wakefield Yardley Bancroft Colby
		Drummond
		Everett Fletcher Goodwin Hathaway Prescott`),
}
