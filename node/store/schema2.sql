-- Schema version 2. This script never changes once released.

-- History: no version before this one ever wrote a row. The key is the number of the first event in the row, so that a row
-- is appended at the right edge of the tree and the oldest go at the left.
drop table event;
create table event (k integer primary key, v blob not null, sum integer not null) strict;

-- When a node that is a client of ours was last seen, and how often it was called since.
create table client (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
