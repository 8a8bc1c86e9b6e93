/* See plug_a.c. */
long plug_work(long rounds);

long plug_work(long rounds)
{
    long sum = 1;
    for (long i = 0; i < rounds; i++)
        sum = (sum ^ (i << 2)) + 7;
    return sum;
}
