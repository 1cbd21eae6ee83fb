package engine

// A list of names takes few bytes where neighbours begin alike, as the recipients
// of a multicast do. For each name it holds
//
//	number of bytes that it shares with the beginning of the name before it
//	number of the bytes that follow | these bytes
//
// with each number in one byte: a name has at most [history.MaxUser] bytes.

// AppendName appends a name to a list whose last name is last, "" if it is empty.
func AppendName(list []byte, last, name string) []byte {
	shared := 0
	for shared < min(len(last), len(name)) && last[shared] == name[shared] {
		shared++
	}
	list = append(list, byte(shared), byte(len(name)-shared))
	return append(list, name[shared:]...)
}

// ParseNames returns the names in list after the first skip of them, at most most
// of these. It returns false if list is damaged as far as it reads.
func ParseNames(list []byte, skip, most int) (names []string, ok bool) {
	var last []byte
	for len(list) > 0 && len(names) < most {
		if len(list) < 2 || int(list[0]) > len(last) || int(list[1]) > len(list)-2 {
			return nil, false
		}
		end := 2 + int(list[1])
		last = append(last[:list[0]], list[2:end]...)
		list = list[end:]
		if skip--; skip < 0 {
			names = append(names, string(last))
		}
	}
	return names, true
}
