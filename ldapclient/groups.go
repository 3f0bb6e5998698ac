package ldapclient

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/secboard/secboard/domain/directory"
)

// inChain is Active Directory's matching rule for members of members.
// https://learn.microsoft.com/windows/win32/adsi/search-filter-syntax
const inChain = "1.2.840.113556.1.4.1941"

// groups are the common names of the groups that the person is in: directly, by the primary group, which memberOf
// leaves out, and, if asked for, through other groups. The session must be bound as the searching account.
func (s *session) groups(ctx context.Context, person *ldap.Entry) ([]string, error) {
	names := []string{}
	for _, dn := range person.GetEqualFoldAttributeValues(attrMemberOf) {
		if name := commonName(dn); name != "" {
			names = append(names, name)
		}
	}
	members := []string{person.DN}
	sid := person.GetEqualFoldRawAttributeValue(attrSID)
	if primary := primaryGroup(sid, person.GetEqualFoldAttributeValue(attrPrimaryGroup)); primary != "" {
		result, err := s.search(ctx,
			s.request("<SID="+primary+">", ldap.ScopeBaseObject, "(objectClass=*)", []string{"cn"}))
		if err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) { // hidden from the account
			return nil, s.server.failure(directory.StepSearch, explainGroups(err))
		}
		for _, group := range result.Entries {
			names = append(names, group.GetEqualFoldAttributeValue("cn"))
			members = append(members, group.DN)
		}
	}
	if s.config.NestedGroups && len(sid) > 0 { // elsewhere the rule finds nothing or is an error
		nested, err := s.groupsAround(ctx, members)
		if err != nil {
			return nil, err
		}
		names = append(names, nested...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// groupsAround are the common names of all groups of the domain that contain one of the members, through any others.
func (s *session) groupsAround(ctx context.Context, members []string) ([]string, error) {
	var filter strings.Builder
	for _, dn := range members {
		fmt.Fprintf(&filter, "(member:%s:=%s)", inChain, ldap.EscapeFilter(dn))
	}
	request := s.request(s.config.domainOf(members[0]), ldap.ScopeWholeSubtree, "(|"+filter.String()+")",
		[]string{"cn"})
	var names []string
	for page, err := range s.pages(ctx, request) {
		if err != nil {
			return nil, s.server.failure(directory.StepSearch, explainGroups(err))
		}
		for _, group := range page {
			names = append(names, group.GetEqualFoldAttributeValue("cn"))
		}
	}
	return names, nil
}

// domainOf is the part of a DN that names its domain: groups need not be under BaseDN.
func (c Config) domainOf(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return c.BaseDN
	}
	var domain []string
	for _, rdn := range parsed.RDNs {
		if part := rdn.Attributes[0]; strings.EqualFold(part.Type, "DC") {
			domain = append(domain, part.String())
		}
	}
	if len(domain) == 0 {
		return c.BaseDN
	}
	return strings.Join(domain, ",")
}

// commonName is the CN that a DN starts with, without its escapes; empty where it starts with something else.
func commonName(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		return ""
	}
	for _, part := range parsed.RDNs[0].Attributes {
		if strings.EqualFold(part.Type, "CN") {
			return part.Value
		}
	}
	return ""
}

// primaryGroup is the SID of the group whose number in the account's domain is relative, as text (S-1-5-21-…-513).
// https://learn.microsoft.com/openspecs/windows_protocols/ms-dtyp/78eb9013-1c3a-4970-ad1f-2b1dad588a25
func primaryGroup(sid []byte, relative string) string {
	const head, part = 8, 4
	if relative == "" || len(sid) < head+part || len(sid) != head+part*int(sid[1]) {
		return ""
	}
	authority := uint64(binary.BigEndian.Uint16(sid[2:]))<<32 | uint64(binary.BigEndian.Uint32(sid[4:]))
	text := fmt.Sprintf("S-%d-%d", sid[0], authority)
	for at := head; at < len(sid)-part; at += part {
		text += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(sid[at:]))
	}
	return text + "-" + relative
}
