package mailing

import "github.com/secboard/secboard/domain/mailmessage"

// mailTexts are what mails say, in one language. %s in a subject and a greeting is replaced by a name.
type mailTexts struct {
	Greeting                                                        string
	ResetSubject, ResetText, ResetButton, ResetIgnore               string
	FirstSubject, FirstText, FirstButton, FirstIgnore               string
	ValidUntil                                                      string
	Notices                                                         map[string]notice
	NoticeAdvice                                                    string
	Account, When, Address, Until                                   string
	ContactSubject, ContactText, ContactName, ContactEmail, About   string
	ContactAnswer                                                   string
	AutoReplySubject, AutoReplyText, AutoReplyWhy, TestMail, TestOK string
}

// notice is what a security notice says.
type notice struct{ Subject, Text string }

var textsOf = map[string]mailTexts{
	"en": {
		Greeting:     "Hello %s,",
		ResetSubject: "%s: set a new password",
		ResetText:    "Somebody requested a link to set a new password for your account. Use this link to set one:",
		ResetButton:  "Set a new password",
		ResetIgnore:  "If it was not you, ignore this mail: your password remains unchanged. Never share this link.",
		FirstSubject: "%s: your first sign-in",
		FirstText:    "Use this link to sign in for the first time. You then choose a password:",
		FirstButton:  "Sign in", FirstIgnore: "If you did not request it, ignore this mail. Never share this link.",
		ValidUntil: "The link works once, until %s.",
		Notices: map[string]notice{
			mailmessage.NoticePasswordChanged: {
				"%s: your password was changed", "The password of your account was changed.",
			},
			mailmessage.NoticeTwoFactorOn: {"%s: two-factor authentication is on", "A device was confirmed for " +
				"two-factor authentication of your account."},
			mailmessage.NoticeTwoFactorOff: {
				"%s: two-factor authentication is off",
				"Two-factor authentication was switched off for your account.",
			},
			mailmessage.NoticeTwoFactorReset: {"%s: two-factor authentication was reset", "An administrator " +
				"removed the device and the backup codes for two-factor authentication from your account."},
			mailmessage.NoticeEmailChanged: {"%s: your e-mail address was changed", "The e-mail address of your " +
				"account was changed. You sign in with the new one from now on."},
			mailmessage.NoticeLockedOut: {"%s: too many failed sign-ins",
				"There were too many failed attempts to sign in to your account. Passwords from the same network " +
					"are refused for a few minutes; after too many wrong codes, codes from anywhere for up to " +
					"an hour."},
			mailmessage.NoticeBackupCodes: {"%s: new backup codes", "New backup codes were made for two-factor " +
				"authentication of your account. The former ones no longer work."},
			mailmessage.NoticeBackupCodeUsed: {"%s: a backup code was used", "Somebody signed in to your account " +
				"with a backup code in place of a code of the device. It does not work again."},
			mailmessage.NoticeProposed: {"%s: a change waits for confirmation", "An administrator proposed a change " +
				"that takes the confirmation of a superuser, or of somebody else with enough rights. Look at it " +
				"under " +
				"Approvals."},
			mailmessage.NoticeDecided: {"%s: your proposal was decided", "A change that you proposed was confirmed, " +
				"refused, or has expired. Look at it under Approvals."},
			mailmessage.NoticeSuperuserMade: {"%s: a superuser was made on the server", "Somebody with access to " +
				"the server made an account a superuser with \"secboard superuser create\". The history of the " +
				"account says who did it. If nobody of you did, find out who has access to the server."},
		},
		NoticeAdvice: "If this was not you, tell your administrator immediately.",
		Account:      "Account", When: "Time", Address: "IP address", Until: "Locked until",
		ContactSubject: "Contact form: %s", ContactText: "Somebody sent a message through the contact form.",
		ContactName: "Name", ContactEmail: "E-mail", About: "Subject",
		ContactAnswer:    "If you reply to this mail, your reply goes to the sender of the message.",
		AutoReplySubject: "%s: we have received your message",
		AutoReplyText:    "Thank you for your message. We have received it and will reply as soon as we can.",
		AutoReplyWhy: "This is an automatic reply to a message sent through our contact form. If you did not send " +
			"it, ignore this mail.",
		TestMail: "%s: test mail", TestOK: "This mail account can send mail: an administrator sent this mail to " +
			"test it.",
	},
	"uk": {
		Greeting:     "Вітаємо, %s!",
		ResetSubject: "%s: встановлення нового пароля", ResetText: "Хтось попросив посилання, щоб установити новий " +
			"пароль для вашого облікового запису. За цим посиланням ви можете його встановити:",
		ResetButton: "Установити новий пароль",
		ResetIgnore: "Якщо це були не ви, не зважайте на цей лист: пароль залишиться без змін. Нікому не " +
			"передавайте посилання.",
		FirstSubject: "%s: ваш перший вхід",
		FirstText:    "За цим посиланням ви увійдете вперше. Після цього ви оберете пароль:",
		FirstButton:  "Увійти",
		FirstIgnore:  "Якщо ви цього не просили, не зважайте на цей лист. Нікому не передавайте посилання.",
		ValidUntil:   "Посилання спрацьовує один раз, до %s.",
		Notices: map[string]notice{
			mailmessage.NoticePasswordChanged: {"%s: ваш пароль змінено", "Пароль вашого облікового запису змінено."},
			mailmessage.NoticeTwoFactorOn: {"%s: двофакторну автентифікацію увімкнено", "Для двофакторної " +
				"автентифікації вашого облікового запису підтверджено пристрій."},
			mailmessage.NoticeTwoFactorOff: {
				"%s: двофакторну автентифікацію вимкнено",
				"Двофакторну автентифікацію вашого облікового запису вимкнено.",
			},
			mailmessage.NoticeTwoFactorReset: {"%s: двофакторну автентифікацію скинуто", "Адміністратор скинув " +
				"пристрій і резервні коди двофакторної автентифікації вашого облікового запису."},
			mailmessage.NoticeEmailChanged: {"%s: вашу адресу електронної пошти змінено", "Адресу електронної пошти " +
				"вашого облікового запису змінено. Відтепер ви входите з новою."},
			mailmessage.NoticeLockedOut: {"%s: забагато спроб входу", "Було забагато невдалих спроб увійти до вашого " +
				"облікового запису. Паролі з тієї самої мережі кілька хвилин не приймаються, а після забагатьох " +
				"хибних кодів до години не приймаються коди звідусіль."},
			mailmessage.NoticeBackupCodes: {"%s: нові резервні коди", "Для двофакторної автентифікації вашого " +
				"облікового запису створено нові резервні коди. Попередні більше не діють."},
			mailmessage.NoticeBackupCodeUsed: {"%s: використано резервний код", "До вашого облікового запису ввійшли " +
				"за резервним кодом замість коду з пристрою. Удруге він не спрацює."},
			mailmessage.NoticeProposed: {"%s: зміна чекає на підтвердження", "Адміністратор запропонував зміну, " +
				"яку має " +
				"підтвердити суперкористувач або інша особа з достатніми правами. Перегляньте її в розділі " +
				"«Підтвердження»."},
			mailmessage.NoticeDecided: {"%s: щодо вашої пропозиції є рішення", "Запропоновану вами зміну " +
				"підтверджено або " +
				"відхилено, або минув її термін. Перегляньте її в розділі «Підтвердження»."},
			mailmessage.NoticeSuperuserMade: {"%s: на сервері створено суперкористувача", "Хтось із доступом до " +
				"сервера зробив обліковий запис суперкористувачем командою \"secboard superuser create\". Хто це " +
				"зробив, видно з історії запису. Якщо це не хтось із вас, з’ясуйте, хто має доступ до сервера."},
		},
		NoticeAdvice: "Якщо це були не ви, негайно повідомте адміністратора.",
		Account:      "Обліковий запис", When: "Час", Address: "IP-адреса", Until: "Заблоковано до",
		ContactSubject: "Контактна форма: %s", ContactText: "Хтось залишив повідомлення в контактній формі.",
		ContactName: "Ім’я", ContactEmail: "Електронна пошта", About: "Тема",
		ContactAnswer:    "Відповідь на цей лист надійде відправникові.",
		AutoReplySubject: "%s: ми отримали ваше повідомлення",
		AutoReplyText:    "Дякуємо за повідомлення. Воно надійшло, і ми відповімо якнайшвидше.",
		AutoReplyWhy: "Це автоматична відповідь на повідомлення в нашій контактній формі. Якщо його написали не " +
			"ви, не зважайте на цей лист.",
		TestMail: "%s: пробний лист",
		TestOK:   "Цей поштовий запис може надсилати: адміністратор перевірив його цим листом.",
	},
	"ru": {
		Greeting:     "Здравствуйте, %s!",
		ResetSubject: "%s: установка нового пароля", ResetText: "Кто-то попросил ссылку, чтобы установить новый " +
			"пароль для вашей учётной записи. По этой ссылке вы можете его установить:",
		ResetButton: "Установить новый пароль",
		ResetIgnore: "Если это были не вы, не обращайте внимания на это письмо: пароль останется прежним. Никому не " +
			"передавайте ссылку.",
		FirstSubject: "%s: ваш первый вход",
		FirstText:    "По этой ссылке вы войдёте впервые. После этого вы выберете пароль:",
		FirstButton:  "Войти",
		FirstIgnore:  "Если вы этого не просили, не обращайте внимания на это письмо. Никому не передавайте ссылку.",
		ValidUntil:   "Ссылка срабатывает один раз, до %s.",
		Notices: map[string]notice{
			mailmessage.NoticePasswordChanged: {"%s: ваш пароль изменён", "Пароль вашей учётной записи изменён."},
			mailmessage.NoticeTwoFactorOn: {"%s: двухфакторная аутентификация включена", "Для двухфакторной " +
				"аутентификации вашей учётной записи подтверждено устройство."},
			mailmessage.NoticeTwoFactorOff: {
				"%s: двухфакторная аутентификация выключена",
				"Двухфакторная аутентификация вашей учётной записи выключена.",
			},
			mailmessage.NoticeTwoFactorReset: {"%s: двухфакторная аутентификация сброшена", "Администратор сбросил " +
				"устройство и резервные коды двухфакторной аутентификации вашей учётной записи."},
			mailmessage.NoticeEmailChanged: {"%s: ваш адрес электронной почты изменён", "Адрес электронной почты " +
				"вашей учётной записи изменён. Отныне вы входите с новым."},
			mailmessage.NoticeLockedOut: {"%s: слишком много попыток входа", "Было слишком много неудачных попыток " +
				"войти в вашу учётную запись. Пароли из той же сети несколько минут не принимаются, а после " +
				"слишком многих неверных кодов до часа не принимаются коды отовсюду."},
			mailmessage.NoticeBackupCodes: {"%s: новые резервные коды", "Для двухфакторной аутентификации вашей " +
				"учётной записи созданы новые резервные коды. Прежние больше не действуют."},
			mailmessage.NoticeBackupCodeUsed: {"%s: использован резервный код", "В вашу учётную запись вошли по " +
				"резервному коду вместо кода устройства. Второй раз он не сработает."},
			mailmessage.NoticeProposed: {"%s: изменение ждёт подтверждения", "Администратор предложил изменение, " +
				"которое " +
				"должен подтвердить суперпользователь или другое лицо с достаточными правами. Посмотрите его в " +
				"разделе «Подтверждения»."},
			mailmessage.NoticeDecided: {"%s: по вашему предложению есть решение", "Предложенное вами изменение " +
				"подтверждено или отклонено, либо его срок истёк. Посмотрите его в разделе «Подтверждения»."},
			mailmessage.NoticeSuperuserMade: {"%s: на сервере создан суперпользователь", "Кто-то с доступом к " +
				"серверу сделал учётную запись суперпользователем командой \"secboard superuser create\". Кто это " +
				"сделал, видно из истории записи. Если это не кто-то из вас, выясните, у кого есть доступ к серверу."},
		},
		NoticeAdvice: "Если это были не вы, немедленно сообщите администратору.",
		Account:      "Учётная запись", When: "Время", Address: "IP-адрес", Until: "Заблокировано до",
		ContactSubject: "Контактная форма: %s", ContactText: "Кто-то оставил сообщение в контактной форме.",
		ContactName: "Имя", ContactEmail: "Электронная почта", About: "Тема",
		ContactAnswer:    "Ответ на это письмо придёт отправителю.",
		AutoReplySubject: "%s: мы получили ваше сообщение",
		AutoReplyText:    "Спасибо за сообщение. Оно дошло, и мы ответим как можно скорее.",
		AutoReplyWhy: "Это автоматический ответ на сообщение в нашей контактной форме. Если его написали не вы, " +
			"не обращайте внимания на это письмо.",
		TestMail: "%s: пробное письмо",
		TestOK:   "Эта почтовая запись может отправлять: администратор проверил её этим письмом.",
	},
}
