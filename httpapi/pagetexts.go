package httpapi

// pageTexts are what the pages for people say, in one language.
type pageTexts struct {
	Language                                                           string // the word for it
	Email, CabinetPassword, NewPassword, RepeatPassword, Code          string
	PasswordHint, CabinetHint, CodeHint                                string
	AskReset, AskResetText, SendLink                                   string
	AskFirstLogin, AskFirstLoginText                                   string
	LinkSent, LinkSentText                                             string
	SetPassword, SetPasswordText, SavePassword                         string
	PasswordSet, PasswordSetText, PasswordChangedText, SetupFollows    string
	FirstLogin, FirstLoginText, SignIn                                 string
	SecondFactor, SecondFactorText                                     string
	DeadLink, DeadLinkText, AskAgain                                   string
	SignedOut, SignedOutText, HasPassword, HasPasswordText             string
	BadEmail, Missing, TooShort, TooLong, TooWeak, Differs, BadCode    string
	CannotSignIn, TooMany, Unavailable, Failed, FormExpired, WentWrong string
}

// languageNames are how languages call themselves.
var languageNames = map[string]string{"en": "English", "uk": "Українська", "ru": "Русский"}

var textsOf = map[string]pageTexts{
	"en": {
		Language: "Language",
		Email:    "E-mail address", CabinetPassword: "Cabinet password", NewPassword: "New password",
		RepeatPassword: "Repeat the new password", Code: "Code",
		PasswordHint: "At least 12 characters. Not your e-mail address and not a common password; several words make " +
			"a good one.",
		CabinetHint: "Your company gave it to you for the first sign-in.",
		CodeHint:    "Six digits from your authenticator app, or one of your backup codes.",
		AskReset:    "Reset your password", AskResetText: "Enter the e-mail address that you sign in with. You will " +
			"get a link to set a new password.", SendLink: "Send the link",
		AskFirstLogin: "First sign-in", AskFirstLoginText: "Enter your e-mail address and the cabinet password of " +
			"your company. You will get a link that signs you in.",
		LinkSent: "Check your mailbox",
		LinkSentText: "If what you entered is right, a link is on its way to you. It is valid for one hour and " +
			"works once. If nothing arrives, check your spam folder or ask your administrator.",
		SetPassword: "Set a new password", SetPasswordText: "Choose the password that you will sign in with.",
		SavePassword: "Save the password",
		PasswordSet:  "Your password is set", PasswordSetText: "You can sign in with it from now on.",
		PasswordChangedText: "You can sign in with it now. You have been signed out everywhere.",
		SetupFollows:        "At the next sign-in you will be asked to set up two-factor authentication.",
		FirstLogin:          "Welcome",
		FirstLoginText:      "This link signs you in once. After that you choose a password.", SignIn: "Sign in",
		SecondFactor: "Second step", SecondFactorText: "Your account is protected by two-factor authentication.",
		DeadLink:     "This link does not work",
		DeadLinkText: "It is incomplete, has already been used, or is older than one hour.", AskAgain: "Ask for a " +
			"new link",
		SignedOut:       "You are not signed in",
		SignedOutText:   "The session ended before a password was set. Ask for a new link.",
		HasPassword:     "You already have a password",
		HasPasswordText: "If you don't remember it, ask for a link to set a new one.",
		BadEmail:        "Enter a complete e-mail address, such as name@example.com.", Missing: "Fill in every field.",
		TooShort: "The password is too short: it must have at least 12 characters.",
		TooLong:  "The password is too long.",
		TooWeak:  "The password is too easy to guess: it is your e-mail address or a common password.",
		Differs:  "The two passwords differ.", BadCode: "The code is wrong or has already been used.",
		CannotSignIn: "You can't sign in at the moment. Your administrator can tell you why.",
		TooMany:      "Too many attempts. Wait a few minutes and try again.",
		Unavailable:  "The service is busy or unavailable at the moment. Try again soon.",
		Failed:       "That did not work", FormExpired: "The form was open for too long or was sent from another " +
			"site. Try again.",
		WentWrong: "Something unexpected went wrong. Try again, or tell your administrator.",
	},
	"uk": {
		Language: "Мова",
		Email:    "Адреса електронної пошти", CabinetPassword: "Пароль кабінету", NewPassword: "Новий пароль",
		RepeatPassword: "Новий пароль ще раз", Code: "Код",
		PasswordHint: "Щонайменше 12 символів. Не адреса електронної пошти й не поширений пароль; добре підходять " +
			"кілька слів.",
		CabinetHint: "Його надала ваша компанія для першого входу.",
		CodeHint:    "Шість цифр із застосунку автентифікації або один із резервних кодів.",
		AskReset:    "Відновлення пароля", AskResetText: "Введіть адресу електронної пошти, з якою ви входите. Ви " +
			"отримаєте посилання для встановлення нового пароля.", SendLink: "Надіслати посилання",
		AskFirstLogin: "Перший вхід", AskFirstLoginText: "Введіть адресу електронної пошти та пароль кабінету вашої " +
			"компанії. Ви отримаєте посилання для входу.",
		LinkSent: "Перевірте поштову скриньку",
		LinkSentText: "Якщо введені дані правильні, посилання вже надсилається вам. Воно дійсне одну годину й " +
			"спрацьовує один раз. Якщо лист не надійшов, перевірте папку «Спам» або зверніться до адміністратора.",
		SetPassword: "Встановлення нового пароля", SetPasswordText: "Оберіть пароль, з яким ви входитимете.",
		SavePassword: "Зберегти пароль",
		PasswordSet:  "Пароль встановлено", PasswordSetText: "Відтепер ви можете входити з ним.",
		PasswordChangedText: "Тепер ви можете входити з ним. Усі ваші попередні сеанси завершено.",
		SetupFollows:        "Під час наступного входу вам запропонують налаштувати двофакторну автентифікацію.",
		FirstLogin:          "Вітаємо",
		FirstLoginText:      "Це посилання дає змогу увійти один раз. Після цього ви оберете пароль.", SignIn: "Увійти",
		SecondFactor: "Другий крок", SecondFactorText: "Ваш обліковий запис захищено двофакторною автентифікацією.",
		DeadLink: "Це посилання не працює", DeadLinkText: "Воно неповне, вже використане або старше за одну годину.",
		AskAgain:  "Отримати нове посилання",
		SignedOut: "Ви не увійшли", SignedOutText: "Сеанс завершився до встановлення пароля. Отримайте нове посилання.",
		HasPassword:     "У вас уже є пароль",
		HasPasswordText: "Якщо ви його не пам’ятаєте, отримайте посилання для встановлення нового.",
		BadEmail:        "Введіть повну адресу електронної пошти, наприклад name@example.com.",
		Missing:         "Заповніть усі поля.",
		TooShort:        "Пароль закороткий: потрібно щонайменше 12 символів.", TooLong: "Пароль задовгий.",
		TooWeak: "Пароль надто легко вгадати: це ваша адреса електронної пошти або поширений пароль.",
		Differs: "Паролі не збігаються.", BadCode: "Код неправильний або вже використаний.",
		CannotSignIn: "Зараз ви не можете увійти. Причину може повідомити ваш адміністратор.",
		TooMany:      "Забагато спроб. Зачекайте кілька хвилин і спробуйте ще раз.",
		Unavailable:  "Сервіс зараз перевантажений або недоступний. Спробуйте трохи згодом.",
		Failed:       "Не вдалося", FormExpired: "Форма була відкрита задовго або надіслана з іншого сайту. " +
			"Спробуйте ще раз.",
		WentWrong: "Сталася непередбачена помилка. Спробуйте ще раз або повідомте адміністратора.",
	},
	"ru": {
		Language: "Язык",
		Email:    "Адрес электронной почты", CabinetPassword: "Пароль кабинета", NewPassword: "Новый пароль",
		RepeatPassword: "Новый пароль ещё раз", Code: "Код",
		PasswordHint: "Не менее 12 символов. Не адрес электронной почты и не распространённый пароль; хорошо " +
			"подходят несколько слов.",
		CabinetHint: "Его выдала ваша компания для первого входа.",
		CodeHint:    "Шесть цифр из приложения для аутентификации или один из резервных кодов.",
		AskReset:    "Восстановление пароля", AskResetText: "Введите адрес электронной почты, с которым вы входите. " +
			"Вы получите ссылку для установки нового пароля.", SendLink: "Отправить ссылку",
		AskFirstLogin: "Первый вход",
		AskFirstLoginText: "Введите адрес электронной почты и пароль кабинета вашей компании. Вы получите ссылку для " +
			"входа.",
		LinkSent: "Проверьте почтовый ящик",
		LinkSentText: "Если введённые данные верны, ссылка уже отправляется вам. Она действует один час и " +
			"срабатывает один раз. Если письмо не пришло, проверьте папку «Спам» или обратитесь к администратору.",
		SetPassword: "Установка нового пароля", SetPasswordText: "Выберите пароль, с которым вы будете входить.",
		SavePassword: "Сохранить пароль",
		PasswordSet:  "Пароль установлен", PasswordSetText: "Теперь вы можете входить с ним.",
		PasswordChangedText: "Теперь вы можете входить с ним. Все ваши прежние сеансы завершены.",
		SetupFollows:        "При следующем входе вам предложат настроить двухфакторную аутентификацию.",
		FirstLogin:          "Добро пожаловать",
		FirstLoginText:      "Эта ссылка позволяет войти один раз. После этого вы выберете пароль.", SignIn: "Войти",
		SecondFactor: "Второй шаг", SecondFactorText: "Ваша учётная запись защищена двухфакторной аутентификацией.",
		DeadLink: "Эта ссылка не работает", DeadLinkText: "Она неполная, уже использована или старше одного часа.",
		AskAgain:  "Получить новую ссылку",
		SignedOut: "Вы не вошли", SignedOutText: "Сеанс завершился до установки пароля. Получите новую ссылку.",
		HasPassword:     "У вас уже есть пароль",
		HasPasswordText: "Если вы его не помните, получите ссылку для установки нового.",
		BadEmail:        "Введите полный адрес электронной почты, например name@example.com.",
		Missing:         "Заполните все поля.",
		TooShort:        "Пароль слишком короткий: нужно не менее 12 символов.", TooLong: "Пароль слишком длинный.",
		TooWeak: "Пароль слишком легко угадать: это ваш адрес электронной почты или распространённый пароль.",
		Differs: "Пароли не совпадают.", BadCode: "Код неверен или уже использован.",
		CannotSignIn: "Сейчас вы не можете войти. Причину может сообщить ваш администратор.",
		TooMany:      "Слишком много попыток. Подождите несколько минут и попробуйте снова.",
		Unavailable:  "Сервис сейчас перегружен или недоступен. Попробуйте немного позже.",
		Failed:       "Не получилось", FormExpired: "Форма была открыта слишком долго или отправлена с другого " +
			"сайта. Попробуйте ещё раз.",
		WentWrong: "Произошла непредвиденная ошибка. Попробуйте ещё раз или сообщите администратору.",
	},
}
