# Hashes, regular expressions, sorting, strings, closures; the argument scales the work.
use strict;
use warnings;

sub words {
    my ($n) = @_;
    my $state = 4711;
    return map { $state = ($state * 1103515245 + 12345) & 0x7fffffff; 'w' . ($state % 1999) } 1 .. $n;
}

sub counting {
    my %count;
    $count{$_}++ for @_;
    my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
    return join ',', map { "$_=$count{$_}" } @top[0 .. 2];
}

sub patterns {
    my $text = join ' ', @_;
    my $sum = 0;
    while ($text =~ /\bw(\d)(\d+)([13579])\b/g) { $sum += $1 + length($2) * $3; }
    (my $swapped = $text) =~ s/w(\d+) (\w+)/$2:$1/g;
    $swapped =~ tr/0-4/a-e/;
    return $sum . '/' . length($swapped) . '/' . substr($swapped, 1000, 16);
}

sub matrix {
    my ($n) = @_;
    my @a = map { my $i = $_; [map { $i * $_ % 17 } 1 .. $n] } 1 .. $n;
    my $trace = 0;
    for my $i (0 .. $n - 1) {
        for my $j (0 .. $n - 1) {
            my $sum = 0;
            $sum += $a[$i][$_] * $a[$_][$j] for 0 .. $n - 1;
            $trace += $sum if $i == $j;
        }
    }
    return $trace;
}

sub objects {
    my ($n) = @_;
    my $counter = Counter->new(step => 3);
    $counter->add($_ % 5) for 1 .. $n;
    my @parts = map { sprintf '%05.2f', $_ / 7 } 1 .. $n / 10;
    return $counter->{value} . '/' . length(join '|', reverse sort @parts);
}

package Counter;
sub new { my ($class, %args) = @_; return bless {value => 0, %args}, $class; }
sub add { my ($self, $by) = @_; $self->{value} += $by * $self->{step}; return $self; }

package main;
for my $round (1 .. $ARGV[0]) {
    my @words = words(40000);
    print "$round ", counting(@words), ' ', patterns(@words), ' ', matrix(40), ' ', objects(50000), "\n";
}
